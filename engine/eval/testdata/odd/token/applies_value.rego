# METADATA
# title: Odd policy applies value
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-134
#   severity: low
#   remedy: manual
package patrol.token.applies_value

applicable := input.token.used

deny contains "fires" if input.token.age_days > 30
