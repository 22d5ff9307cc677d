# METADATA
# title: Odd policy regex param
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-061
#   severity: low
#   remedy: manual
#   params:
#     pattern: {default: '^night', description: A parameter}
package patrol.token.regex_param

deny contains "fires" if regex.match(input.params.pattern, input.token.comment)
