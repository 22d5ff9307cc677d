# METADATA
# title: Odd policy text index
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-053
#   severity: low
#   remedy: manual
package patrol.token.text_index

deny contains "fires" if indexof(input.token.comment, "e") > 3
