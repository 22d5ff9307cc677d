# METADATA
# title: Everybody may make tokens
# description: >-
#   A group that holds everybody has the right to make tokens, so that each account,
#   guests and forgotten ones included, can get a secret that lasts.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-003
#   severity: high
#   remedy: change-grant
#   remediation: >-
#     Give CAN_USE to a group of those who need tokens, then take it from this group.
#     Careful: tokens of those who lose the right stop working at once and may be
#     deleted.
#   controls:
#     nist-800-53r5: ["AC-6"]
#     soc2: ["CC6.1"]
#     cis-azure-foundations-6.0: ["2.1.6"]
#   aliases: ["sat:IA-8"]
#   needs: [grants]
#   params:
#     groups:
#       default: [users, account users]
#       description: Names of groups, in any letter case, that hold everybody
package patrol.workspace.open_to_all

import data.patrol.lib

deny contains message if {
	some grant in input.workspace.grants
	grant.kind == "group"
	grant.level in {"CAN_USE", "CAN_MANAGE"}
	lib.one_of(grant.principal, input.params.groups)
	message := sprintf("group %s has %s", [grant.principal, grant.level])
}
