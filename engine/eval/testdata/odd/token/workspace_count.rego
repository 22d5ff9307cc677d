# METADATA
# title: Odd policy workspace count
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-146
#   severity: low
#   remedy: manual
package patrol.token.workspace_count

deny contains "fires" if input.owner.live_tokens * 10 > input.workspace.tokens
