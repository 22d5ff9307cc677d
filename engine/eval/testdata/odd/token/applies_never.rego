# METADATA
# title: Odd policy applies never
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-131
#   severity: low
#   remedy: manual
#   params:
#     list: {default: [], description: A parameter}
package patrol.token.applies_never

applicable if count(input.params.list) > 0

deny contains "fires" if input.token.age_days > 30
