# METADATA
# title: Tokens were switched on again
# description: >-
#   Since the snapshot before personal access tokens are allowed where they were not.
#   Tokens from before the ban work again.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-011
#   severity: high
#   remedy: manual
#   remediation: >-
#     Find the change that this belongs to; an export of the audit log (--audit-changes)
#     names who made it. If there is none, switch tokens off again; revoke the old
#     tokens first, since no later switch removes them.
#   controls:
#     nist-800-53r5: ["CM-3", "CM-7"]
#     iso-27001-2022: ["A.8.32"]
#     soc2: ["CC8.1"]
#   needs: [settings.enableTokensConfig, previous]
#   tolerates: [audit_changes]
package patrol.workspace.tokens_back_on

import data.patrol.lib.authors

applicable if input.workspace.previous.settings_at

deny contains authors.finding(message, log) if {
	input.workspace.pats_enabled
	input.workspace.previous.pats_enabled == false
	message := sprintf("tokens were off on %s and are on now", [input.workspace.previous.settings_at])
	log := [known | known := input.workspace.audit_changes.settings.enableTokensConfig]
}
