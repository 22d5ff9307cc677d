# METADATA
# title: Odd policy workspace limit
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-145
#   severity: low
#   remedy: manual
package patrol.token.workspace_limit

deny contains "fires" if input.token.lifetime_days > input.workspace.max_lifetime_days
