# METADATA
# title: Many tokens expire together
# description: >-
#   When many tokens of one owner, or of a workspace, expire within a day of each other,
#   everything that uses them stops at once, and nobody can replace them in time.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-025
#   severity: low
#   remedy: notify
#   remediation: Replace some of the tokens early, so that their days of expiry spread.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#   needs: [tokens]
#   params:
#     owner_tokens:
#       default: 5
#       description: Live tokens of one owner, within a day of each other, from which on it is a cliff
#     workspace_tokens:
#       default: 50
#       description: Live tokens of a workspace, within a day of each other, from which on it may be a cliff
#     workspace_percent:
#       default: 10
#       description: Percentage of the workspace's tokens that these must be at least
package patrol.token.expiry_cliff

deny contains message if {
	input.token.owner_expiring_near >= input.params.owner_tokens
	message := sprintf("%v tokens of its owner expire within a day of it, limit %v", [
		input.token.owner_expiring_near,
		input.params.owner_tokens,
	])
}

deny contains message if {
	near := input.token.workspace_expiring_near
	near >= input.params.workspace_tokens
	near * 100 >= input.workspace.tokens * input.params.workspace_percent
	message := sprintf("%v of the workspace's %v tokens expire within a day of it, limit %v", [
		near,
		input.workspace.tokens,
		input.params.workspace_tokens,
	])
}
