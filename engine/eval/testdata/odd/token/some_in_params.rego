# METADATA
# title: Odd policy some in params
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-013
#   severity: low
#   remedy: manual
#   params:
#     suffixes: {default: ["@example.org", "2@example.com"], description: A parameter}
package patrol.token.some_in_params

deny contains "fires" if {
	some suffix in input.params.suffixes
	endswith(lower(input.owner.name), suffix)
}
