# METADATA
# title: Odd policy list count
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-119
#   severity: low
#   remedy: manual
package patrol.token.list_count

deny contains "fires" if count(input.token.scopes) >= 2
