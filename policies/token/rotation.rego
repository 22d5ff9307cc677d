# METADATA
# title: Rotation is overdue
# description: >-
#   A secret that is replaced regularly bounds how long a leak that nobody noticed
#   can be used, and proves that the replacement works.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-009
#   severity: medium
#   remedy: notify
#   remediation: >-
#     Ask the owner to make a new token, put it where this one is used, and revoke
#     this one.
#   controls:
#     nist-800-53r5: ["IA-5", "IA-5(1)"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3", "8.3.9"]
#     soc2: ["CC6.1"]
#   needs: [tokens]
#   params:
#     max_age_days:
#       default: 90
#       description: Age in days up to which a token need not be replaced
package patrol.token.rotation

import data.patrol.lib

deny contains finding if {
	input.token.age_days > input.params.max_age_days
	finding := {
		"msg": sprintf("%s old, limit %v", [lib.days(input.token.age_days), input.params.max_age_days]),
		"created_at": input.token.created_at,
	}
}
