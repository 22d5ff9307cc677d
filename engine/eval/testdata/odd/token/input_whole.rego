# METADATA
# title: Odd policy input whole
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-108
#   severity: low
#   remedy: manual
package patrol.token.input_whole

deny contains "fires" if {
	x := input
	x.token.used == false
}
