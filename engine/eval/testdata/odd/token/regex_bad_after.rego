# METADATA
# title: Odd policy regex bad after
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-064
#   severity: low
#   remedy: manual
#   params:
#     pattern: {default: '[', description: A parameter}
package patrol.token.regex_bad_after

deny contains "fires" if {
	input.token.age_days > 90
	regex.match(input.params.pattern, input.token.comment)
}
