# METADATA
# title: Odd policy groups some
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-118
#   severity: low
#   remedy: manual
#   params:
#     groups: {default: [everyone], description: A parameter}
package patrol.token.groups_some

deny contains "fires" if {
	some group in input.owner.groups
	group in input.params.groups
}
