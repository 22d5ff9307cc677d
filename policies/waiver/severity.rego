# METADATA
# title: Finding is too grave to be waived
# description: >-
#   Some findings leave no room for an exception: a token of somebody who left, or one
#   whose comment holds a secret, is dangerous whoever approves of it.
# schemas:
#   - input: schema.waiver
# custom:
#   id: WV-002
#   severity: critical
#   remedy: manual
#   remediation: >-
#     Remove the cause of the finding. Where the policy is graded too high for your
#     workspaces, grade it lower in patrol.yaml, for all to see.
#   controls:
#     nist-800-53r5: ["CA-5", "RA-7"]
#     iso-27001-2022: ["A.5.36"]
#   params:
#     never_severities:
#       default: [critical]
#       enum: [critical, high, medium, low, info]
#       description: Severities that nothing may waive
#     never_policies:
#       default: []
#       description: Ids of policies that nothing may waive, whatever their severity
package patrol.waiver.severity

import data.patrol.lib

deny contains message if {
	lib.one_of(input.policy.severity, input.params.never_severities)
	message := sprintf("%s is %s: it may not be waived", [input.policy.id, input.policy.severity])
}

deny contains message if {
	lib.one_of(input.policy.id, input.params.never_policies)
	message := sprintf("%s may not be waived", [input.policy.id])
}
