# METADATA
# title: Odd policy text trim space
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-046
#   severity: low
#   remedy: manual
package patrol.token.text_trim_space

deny contains "fires" if trim_space(input.token.comment) == ""
