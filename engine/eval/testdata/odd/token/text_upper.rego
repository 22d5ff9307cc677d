# METADATA
# title: Odd policy text upper
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-043
#   severity: low
#   remedy: manual
package patrol.token.text_upper

deny contains "fires" if upper(input.token.comment) == "TMP TEST"
