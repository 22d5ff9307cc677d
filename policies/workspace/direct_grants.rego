# METADATA
# title: Users hold the right to make tokens directly
# description: >-
#   Rights that people hold one by one are forgotten when they change jobs. Membership
#   of a group is reviewed, and ends with the account.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-004
#   severity: medium
#   remedy: manual
#   remediation: >-
#     Add the users to a group that has CAN_USE first, and only then remove their own
#     grants: tokens of a user who loses the right stop working at once and may be
#     deleted.
#   controls:
#     nist-800-53r5: ["AC-6"]
#     soc2: ["CC6.1"]
#   needs: [grants]
package patrol.workspace.direct_grants

deny contains finding if {
	users := sort({grant.principal |
		some grant in input.workspace.grants
		grant.kind == "user"
		grant.level == "CAN_USE"
	})
	count(users) > 0
	finding := {
		"msg": sprintf("CAN_USE granted to users directly: %v", [count(users)]),
		"users": users,
	}
}
