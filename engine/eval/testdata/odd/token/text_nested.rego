# METADATA
# title: Odd policy text nested
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-050
#   severity: low
#   remedy: manual
package patrol.token.text_nested

deny contains "fires" if contains(lower(trim_space(input.owner.name)), "example.org")
