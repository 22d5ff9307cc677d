# METADATA
# title: Odd policy function conflict
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-031
#   severity: low
#   remedy: manual
package patrol.token.function_conflict

deny contains "fires" if pick(input.token.age_days) == "a"

pick(n) := "a" if n > 10

pick(n) := "b" if n > 20
