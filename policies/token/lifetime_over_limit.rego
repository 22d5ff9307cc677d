# METADATA
# title: Token outlives the workspace's limit
# description: >-
#   A workspace's limit on lifetimes holds for new tokens only. A token from before
#   keeps the longer life, or the endless one, that the workspace no longer grants.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-003
#   severity: medium
#   remedy: revoke
#   remediation: >-
#     Ask the owner to make a replacement, which the workspace will limit, then
#     revoke this token.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#   aliases: ["sat:IA-6"]
#   needs: [tokens, settings.maxTokenLifetimeDays]
package patrol.token.lifetime_over_limit

import data.patrol.lib

# A limit that is unknown leaves the policy applicable, so that the result is
# unknown as well.
applicable if not unlimited

unlimited if input.workspace.lifetime_limited == false

deny contains finding if {
	input.token.lifetime_days > input.workspace.max_lifetime_days
	finding := {
		"msg": sprintf("lives %s, the workspace allows %v", [
			lib.days(input.token.lifetime_days),
			input.workspace.max_lifetime_days,
		]),
		"created_at": input.token.created_at,
		"expires_at": input.token.expires_at,
	}
}

deny contains message if {
	input.token.never_expires
	message := sprintf("never expires, the workspace allows %s", [lib.days(input.workspace.max_lifetime_days)])
}
