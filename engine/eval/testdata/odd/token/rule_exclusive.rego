# METADATA
# title: Odd policy rule exclusive
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-034
#   severity: low
#   remedy: manual
package patrol.token.rule_exclusive

deny contains "fires" if kind == "a"

kind := "a" if input.token.used

kind := "b" if input.token.used == false
