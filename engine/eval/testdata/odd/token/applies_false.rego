# METADATA
# title: Odd policy applies false
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-133
#   severity: low
#   remedy: manual
package patrol.token.applies_false

applicable := false if input.token.used

applicable if input.token.used == false

deny contains "fires" if input.token.age_days > 30
