# METADATA
# title: Waiver is approved by the owner of what it excuses
# description: >-
#   Nobody excuses a token of their own: an exception needs a second pair of eyes to be a
#   decision of the organisation and not of the person whom it suits.
# schemas:
#   - input: schema.waiver
# custom:
#   id: WV-003
#   severity: high
#   remedy: manual
#   remediation: Have somebody else approve the waiver, and name that person in approver.
#   controls:
#     nist-800-53r5: ["AC-5", "CA-5"]
#     iso-27001-2022: ["A.5.3"]
#     soc2: ["CC6.3"]
#   params:
#     refuse_unknown_owner:
#       default: false
#       description: >-
#         Refuse as well where the name of the owner is not known, as in an imported list of
#         tokens, because then nobody can tell who approved
package patrol.waiver.approver

import data.patrol.lib

deny contains message if {
	some owner in owners
	lib.mailbox(input.waiver.approver) == lib.mailbox(owner)
	message := sprintf("approved by %s, who owns the %s", [input.waiver.approver, input.finding.resource])
}

deny contains message if {
	input.params.refuse_unknown_owner
	input.finding.resource != "workspace"
	not input.finding.owner
	message := sprintf("the owner of the %s is not known by name", [input.finding.resource])
}

owners contains input.finding.owner

owners contains input.finding.owner_id
