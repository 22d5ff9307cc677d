# METADATA
# title: Token is left over after a rotation
# description: >-
#   A newer token of the same owner with the same comment is in use: it took this one's
#   place. What rotation was to end, the old secret's life, goes on.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-023
#   severity: medium
#   remedy: revoke
#   remediation: Check that everything uses the newer token, then revoke this one.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI7"]
#   needs: [tokens]
#   params:
#     in_use_days:
#       default: 7
#       description: Days since its last use up to which the newer token counts as in use
package patrol.token.leftover

import data.patrol.lib

deny contains message if {
	input.token.superseded_by_idle_days <= input.params.in_use_days
	message := sprintf("replaced on %s by token %s…, which is in use", [
		lib.day(input.token.superseded_by_created_at),
		substring(input.token.superseded_by, 0, 8),
	])
}
