# METADATA
# title: Odd policy type member
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-095
#   severity: low
#   remedy: manual
#   params:
#     mixed: {default: [90, "91", true, 30.0], description: A parameter}
package patrol.token.type_member

deny contains "fires" if input.token.age_days in input.params.mixed
