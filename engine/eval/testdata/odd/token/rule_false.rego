# METADATA
# title: Odd policy rule false
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-036
#   severity: low
#   remedy: manual
package patrol.token.rule_false

deny contains "fires" if not flag

flag := false if input.token.used

flag if input.token.used == false
