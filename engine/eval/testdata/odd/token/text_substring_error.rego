# METADATA
# title: Odd policy text substring error
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-055
#   severity: low
#   remedy: manual
package patrol.token.text_substring_error

deny contains "fires" if substring(input.token.comment, input.token.expires_in_days, 3) == "nig"
