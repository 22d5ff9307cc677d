# METADATA
# title: Odd policy text trim
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-045
#   severity: low
#   remedy: manual
package patrol.token.text_trim

deny contains "fires" if trim(input.token.comment, " \t") == ""
