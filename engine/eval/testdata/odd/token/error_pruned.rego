# METADATA
# title: Odd policy error pruned
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-070
#   severity: low
#   remedy: manual
#   params:
#     on: {default: false, description: A parameter}
package patrol.token.error_pruned

deny contains "fires" if {
	to_number(input.token.comment) > 0
	input.params.on
}
