# METADATA
# title: Odd policy deny no message
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-137
#   severity: low
#   remedy: manual
package patrol.token.deny_no_message

deny contains {"age": input.token.age_days} if input.token.age_days > 365
