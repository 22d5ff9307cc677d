# METADATA
# title: More principals may make tokens
# description: >-
#   Since the snapshot before somebody got the right to make tokens. A change that
#   nobody recorded is either a mistake or the first step of something else.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-009
#   severity: medium
#   remedy: manual
#   remediation: >-
#     Find the change that this belongs to; an export of the audit log (--audit-changes)
#     names who made it. If there is none, take the grant away and look at the tokens
#     that were made since.
#   controls:
#     nist-800-53r5: ["CM-3", "AC-6"]
#     iso-27001-2022: ["A.8.32"]
#     soc2: ["CC8.1"]
#   needs: [grants, previous]
#   tolerates: [audit_changes]
package patrol.workspace.grants_grew

import data.patrol.lib.authors

applicable if input.workspace.previous.grants_at

# All that is new is one message: the audit log does not tell which change was whose.
deny contains authors.finding(concat("; ", grown), log) if {
	count(grown) > 0
	log := [known | known := input.workspace.audit_changes.grants]
}

grown contains message if {
	some grant in input.workspace.grants
	grant.level in {"CAN_USE", "CAN_MANAGE"}
	not had(grant)
	message := sprintf("%s %s got %s since %s", [
		grant.kind,
		grant.principal,
		grant.level,
		input.workspace.previous.grants_at,
	])
}

had(grant) if {
	some before in input.workspace.previous.grants
	before.kind == grant.kind
	before.principal == grant.principal
	before.level == grant.level
}
