# METADATA
# title: Odd policy error known
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-079
#   severity: low
#   remedy: manual
#   params:
#     text: {default: 'x', description: A parameter}
package patrol.token.error_known

deny contains "fires" if to_number(input.params.text) == input.token.age_days
