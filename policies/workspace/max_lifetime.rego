# METADATA
# title: New tokens may live too long
# description: >-
#   Without a limit of its own a workspace lets a new token live for two years. A
#   limit is the one control that holds for every token made from now on.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-001
#   severity: high
#   remedy: set-setting
#   remediation: >-
#     Set maxTokenLifetimeDays to the limit. It holds for new tokens only: PAT-003
#     finds the older ones that exceed it.
#   controls:
#     nist-800-53r5: ["CM-6", "IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     soc2: ["CC6.1"]
#     cis-azure-foundations-6.0: ["2.1.6"]
#   aliases: ["sat:IA-5"]
#   needs: [settings.maxTokenLifetimeDays]
#   params:
#     max_lifetime_days:
#       default: 90
#       description: Longest lifetime that a workspace may allow, in days
package patrol.workspace.max_lifetime

deny contains message if {
	input.workspace.max_lifetime_days > input.params.max_lifetime_days
	input.workspace.lifetime_limited
	message := sprintf("limit %v days, want at most %v", [
		input.workspace.max_lifetime_days,
		input.params.max_lifetime_days,
	])
}

deny contains message if {
	input.workspace.max_lifetime_days > input.params.max_lifetime_days
	input.workspace.lifetime_limited == false
	message := sprintf("no limit set (platform default %v days)", [input.workspace.max_lifetime_days])
}
