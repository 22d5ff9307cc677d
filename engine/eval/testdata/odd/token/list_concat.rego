# METADATA
# title: Odd policy list concat
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-122
#   severity: low
#   remedy: manual
package patrol.token.list_concat

deny contains "fires" if concat(",", sort(input.token.scopes)) == "Authentication,sql"
