# METADATA
# title: Odd policy type order
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-094
#   severity: low
#   remedy: manual
#   params:
#     text: {default: 'x', description: A parameter}
package patrol.token.type_order

deny contains "fires" if input.token.age_days < input.params.text
