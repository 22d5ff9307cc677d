# METADATA
# title: Odd policy else chain
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-026
#   severity: low
#   remedy: manual
package patrol.token.else_chain

deny contains "fires" if grade == "bad"

grade := "fine" if {
	input.token.age_days < 30
} else := "bad" if {
	input.token.used == false
} else := "unclear"
