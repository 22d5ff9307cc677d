# METADATA
# title: Odd policy regex list
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-065
#   severity: low
#   remedy: manual
#   params:
#     patterns: {default: ['^tmp', '^TMP', 'export'], description: A parameter}
package patrol.token.regex_list

deny contains "fires" if {
	some pattern in input.params.patterns
	regex.match(pattern, input.token.comment)
}
