# METADATA
# title: Odd policy every param
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-016
#   severity: low
#   remedy: manual
#   params:
#     limits: {default: [7, 90], description: A parameter}
package patrol.token.every_param

deny contains "fires" if {
	every limit in input.params.limits {
		input.token.age_days > limit
	}
}
