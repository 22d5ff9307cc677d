# METADATA
# title: Odd policy input walk
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-111
#   severity: low
#   remedy: manual
package patrol.token.input_walk

deny contains "fires" if {
	walk(input.owner, [_, value])
	value == "everyone"
}
