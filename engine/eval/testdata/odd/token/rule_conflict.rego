# METADATA
# title: Odd policy rule conflict
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-032
#   severity: low
#   remedy: manual
package patrol.token.rule_conflict

deny contains "fires" if {
	level == "high"
	input.token.used == false
}

level := "high" if input.token.age_days > 10

level := "low" if input.token.age_days > 100
