# METADATA
# title: Odd policy arithmetic mixed
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-082
#   severity: low
#   remedy: manual
package patrol.token.arithmetic_mixed

deny contains "fires" if (input.owner.live_tokens * 10) + 1 >= input.token.age_days
