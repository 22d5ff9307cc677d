# METADATA
# title: Odd policy among new
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-148
#   severity: low
#   remedy: manual
package patrol.token.among_new

deny contains "fires" if {
	input.token.in_previous_snapshot == false
	input.token.age_days > 7
}
