# METADATA
# title: Token lives longer than allowed
# description: >-
#   The longer a token lives, the longer a stolen copy of it works. Databricks
#   advises less than 90 days. Tokens without an end are PAT-001's.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-002
#   severity: high
#   remedy: revoke
#   remediation: >-
#     Ask the owner to make a replacement within the limit, then revoke this token.
#     Set maxTokenLifetimeDays so that no new token exceeds the limit.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     cis-azure-foundations-6.0: ["2.1.6"]
#   aliases: ["sat:IA-4"]
#   needs: [tokens]
#   params:
#     max_lifetime_days:
#       default: 90
#       description: Longest lifetime allowed, in days from creation to expiry
package patrol.token.lifetime

import data.patrol.lib

deny contains finding if {
	input.token.lifetime_days > input.params.max_lifetime_days
	finding := {
		"msg": sprintf("lives %s, limit %v", [lib.days(input.token.lifetime_days), input.params.max_lifetime_days]),
		"created_at": input.token.created_at,
		"expires_at": input.token.expires_at,
	}
}
