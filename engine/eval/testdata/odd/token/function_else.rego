# METADATA
# title: Odd policy function else
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-027
#   severity: low
#   remedy: manual
package patrol.token.function_else

deny contains "fires" if grade(input.token.age_days) == "old"

grade(n) := "young" if {
	n < 30
} else := "old"
