# METADATA
# title: Odd policy number range
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-088
#   severity: low
#   remedy: manual
package patrol.token.number_range

deny contains "fires" if {
	input.token.idle_days >= 75
	input.token.idle_days < 90
}
