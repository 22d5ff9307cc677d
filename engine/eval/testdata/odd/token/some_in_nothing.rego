# METADATA
# title: Odd policy some in nothing
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-014
#   severity: low
#   remedy: manual
#   params:
#     suffixes: {default: [], description: A parameter}
package patrol.token.some_in_nothing

deny contains "fires" if {
	some suffix in input.params.suffixes
	endswith(input.owner.name, suffix)
}
