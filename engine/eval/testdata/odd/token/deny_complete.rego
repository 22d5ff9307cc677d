# METADATA
# title: Odd policy deny complete
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-138
#   severity: low
#   remedy: manual
package patrol.token.deny_complete

deny := {"fires"} if input.token.age_days > 90
