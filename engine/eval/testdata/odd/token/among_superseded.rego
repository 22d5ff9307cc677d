# METADATA
# title: Odd policy among superseded
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-149
#   severity: low
#   remedy: manual
package patrol.token.among_superseded

deny contains "fires" if {
	input.token.superseded_by
	input.token.superseded_by_idle_days < 7
}
