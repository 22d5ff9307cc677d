# METADATA
# title: Odd policy regex bad param
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-062
#   severity: low
#   remedy: manual
#   params:
#     pattern: {default: '[', description: A parameter}
package patrol.token.regex_bad_param

deny contains "fires" if regex.match(input.params.pattern, input.token.comment)
