# METADATA
# title: Odd policy deny number
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-136
#   severity: low
#   remedy: manual
package patrol.token.deny_number

deny contains input.token.age_days if input.token.age_days > 365
