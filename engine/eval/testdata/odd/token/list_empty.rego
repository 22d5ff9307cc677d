# METADATA
# title: Odd policy list empty
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-120
#   severity: low
#   remedy: manual
package patrol.token.list_empty

deny contains "fires" if input.token.scopes == []
