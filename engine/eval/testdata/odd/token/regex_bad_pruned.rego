# METADATA
# title: Odd policy regex bad pruned
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-063
#   severity: low
#   remedy: manual
#   params:
#     pattern: {default: '[', description: A parameter}
#     on: {default: false, description: A parameter}
package patrol.token.regex_bad_pruned

deny contains "fires" if {
	regex.match(input.params.pattern, input.token.comment)
	input.params.on
}
