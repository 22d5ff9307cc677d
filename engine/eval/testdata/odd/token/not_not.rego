# METADATA
# title: Odd policy not not
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-004
#   severity: low
#   remedy: manual
package patrol.token.not_not

deny contains "fires" if not not_old

not_old if not old

old if input.token.age_days >= 90
