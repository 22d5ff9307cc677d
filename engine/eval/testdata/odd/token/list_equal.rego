# METADATA
# title: Odd policy list equal
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-121
#   severity: low
#   remedy: manual
package patrol.token.list_equal

deny contains "fires" if input.token.scopes == input.token.inferred_scopes
