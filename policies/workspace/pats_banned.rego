# METADATA
# title: Tokens are enabled where they are banned
# description: >-
#   The workspace is labelled as one without personal access tokens, yet it accepts
#   them.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-002
#   severity: medium
#   remedy: set-setting
#   remediation: >-
#     Set enableTokensConfig to false after checking that no Partner Connect
#     integration or service principal depends on tokens. This deletes none: those
#     that have not expired work again once tokens are enabled.
#   controls:
#     nist-800-53r5: ["CM-6", "IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     soc2: ["CC6.1"]
#     cis-azure-foundations-6.0: ["2.1.6"]
#   needs: [settings.enableTokensConfig]
#   params:
#     label:
#       default: no-pat
#       description: Label of a workspace, as written or in lower case, that bans tokens; the policy applies only where it has one of the values
#     values:
#       default: ["true"]
#       description: Values of the label, in any letter case, that mean banned
package patrol.workspace.pats_banned

import data.patrol.lib

applicable if {
	some name in [input.params.label, lower(input.params.label)]
	value := input.workspace.labels[name]
	lib.one_of(value, input.params.values)
}

deny contains message if {
	input.workspace.pats_enabled
	some name in [input.params.label, lower(input.params.label)]
	value := input.workspace.labels[name]
	lib.one_of(value, input.params.values)
	message := sprintf("tokens are enabled, the workspace has %s=%s", [name, value])
}
