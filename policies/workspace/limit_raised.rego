# METADATA
# title: The limit on lifetimes was loosened
# description: >-
#   Since the snapshot before the workspace lets new tokens live longer. Tokens that
#   were made meanwhile keep their lifetime when the limit is set back.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-010
#   severity: high
#   remedy: manual
#   remediation: >-
#     Find the change that this belongs to; an export of the audit log (--audit-changes)
#     names who made it. If there is none, set the limit back and look at the tokens
#     that were made since.
#   controls:
#     nist-800-53r5: ["CM-3", "CM-6"]
#     iso-27001-2022: ["A.8.32"]
#     soc2: ["CC8.1"]
#   needs: [settings.maxTokenLifetimeDays, previous]
#   tolerates: [audit_changes]
package patrol.workspace.limit_raised

import data.patrol.lib.authors

applicable if input.workspace.previous.settings_at

deny contains authors.finding(message, log) if {
	input.workspace.max_lifetime_days > input.workspace.previous.max_lifetime_days
	message := sprintf("limit went from %v to %v days since %s", [
		input.workspace.previous.max_lifetime_days,
		input.workspace.max_lifetime_days,
		input.workspace.previous.settings_at,
	])
	log := [known | known := input.workspace.audit_changes.settings.maxTokenLifetimeDays]
}
