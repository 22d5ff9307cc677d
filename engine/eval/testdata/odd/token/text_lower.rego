# METADATA
# title: Odd policy text lower
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-042
#   severity: low
#   remedy: manual
package patrol.token.text_lower

deny contains "fires" if lower(input.token.comment) == "nightly"
