# METADATA
# title: Odd policy type order
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-094
#   severity: low
#   remedy: manual
#   params:
#     mixed: {default: [1, 'x'], description: A parameter}
package patrol.token.type_order

deny contains "fires" if {
	some limit in input.params.mixed
	input.token.age_days < limit
}
