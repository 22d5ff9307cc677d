# METADATA
# title: Odd policy text sprintf
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-056
#   severity: low
#   remedy: manual
package patrol.token.text_sprintf

deny contains "fires" if sprintf("%d", [input.token.age_days]) == "90"
