# METADATA
# title: Odd policy set rule member
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-041
#   severity: low
#   remedy: manual
package patrol.token.set_rule_member

deny contains "fires" if "idle" in reasons

reasons contains "old" if input.token.age_days > 90

reasons contains "idle" if input.token.idle_days > 30
