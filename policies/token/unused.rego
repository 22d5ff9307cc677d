# METADATA
# title: Token is unused
# description: >-
#   A token that nobody uses can only do harm. Databricks itself revokes tokens
#   after 90 idle days, so a survivor past that is an anomaly; a lower limit such as
#   30 or 60 finds them earlier.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-004
#   severity: high
#   remedy: revoke
#   remediation: Revoke the token. Its owner can make another when one is needed.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-2(3)(d)"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3", "8.2.6"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI1"]
#   needs: [tokens]
#   params:
#     max_idle_days:
#       default: 90
#       description: Days since the last use, or since creation when never used, from which on a token counts as unused
package patrol.token.unused

import data.patrol.lib

# idle_days is the age of a token that was never used.
deny contains finding if {
	input.token.used
	input.token.idle_days >= input.params.max_idle_days
	finding := {
		"msg": sprintf("unused for %s, limit %v", [lib.days(input.token.idle_days), input.params.max_idle_days]),
		"last_used_at": input.token.last_used_at,
	}
}

deny contains message if {
	input.token.used == false
	input.token.idle_days >= input.params.max_idle_days
	message := sprintf("never used in %s, limit %v", [lib.days(input.token.idle_days), input.params.max_idle_days])
}
