# METADATA
# title: Odd policy text contains
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-047
#   severity: low
#   remedy: manual
package patrol.token.text_contains

deny contains "fires" if contains(input.token.comment, "password")
