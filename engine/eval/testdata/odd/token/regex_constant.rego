# METADATA
# title: Odd policy regex constant
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-059
#   severity: low
#   remedy: manual
package patrol.token.regex_constant

deny contains "fires" if regex.match(`(?i)^tmp`, input.token.comment)
