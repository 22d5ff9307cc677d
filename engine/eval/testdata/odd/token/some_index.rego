# METADATA
# title: Odd policy some index
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-011
#   severity: low
#   remedy: manual
package patrol.token.some_index

deny contains "fires" if input.token.scopes[0] == "sql"
