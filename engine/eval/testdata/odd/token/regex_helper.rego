# METADATA
# title: Odd policy regex helper
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-067
#   severity: low
#   remedy: manual
#   params:
#     pattern: {default: '[', description: A parameter}
package patrol.token.regex_helper

deny contains "fires" if looks(input.token.comment)

looks(text) if regex.match(input.params.pattern, text)
