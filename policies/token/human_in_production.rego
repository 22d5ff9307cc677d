# METADATA
# title: User's token in a production workspace
# description: >-
#   In production, work runs under service principals. A person's token there mixes a
#   personal account with production duties, and stops working when the person leaves.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-024
#   severity: high
#   remedy: revoke
#   remediation: >-
#     Move what uses it to a service principal, then revoke the token; or waive it
#     with a reason and a last day.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17", "A.8.31"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#   needs: [tokens, principals]
#   params:
#     label:
#       default: env
#       description: Label of a workspace, as written or in lower case, that tells what it is for; the policy applies only where it is set
#     values:
#       default: [prod, production]
#       description: Values of the label, in any letter case, that mean production
package patrol.token.human_in_production

import data.patrol.lib

applicable if {
	some name in [input.params.label, lower(input.params.label)]
	input.workspace.labels[name]
}

deny contains message if {
	some name in [input.params.label, lower(input.params.label)]
	value := input.workspace.labels[name]
	lib.one_of(value, input.params.values)
	input.owner.kind == "user"
	message := sprintf("owner is a user, the workspace has %s=%s", [name, value])
}
