# METADATA
# title: Odd policy set rule
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-040
#   severity: low
#   remedy: manual
package patrol.token.set_rule

deny contains "fires" if count(reasons) > 1

reasons contains "old" if input.token.age_days > 90

reasons contains "idle" if input.token.idle_days > 30

reasons contains "wide" if count(input.token.scopes) == 0
