# METADATA
# title: Odd policy text order
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-052
#   severity: low
#   remedy: manual
package patrol.token.text_order

deny contains "fires" if input.token.comment < "n"
