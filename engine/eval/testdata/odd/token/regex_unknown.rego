# METADATA
# title: Odd policy regex unknown
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-066
#   severity: low
#   remedy: manual
package patrol.token.regex_unknown

deny contains "fires" if regex.match(input.token.comment, "nightly export")
