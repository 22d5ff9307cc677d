# METADATA
# title: Token was never used
# description: >-
#   A token that was made and never used was made in error, or for later. Either
#   way it lies somewhere, valid, and nobody would notice that it is gone.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-005
#   severity: medium
#   remedy: revoke
#   remediation: Ask the owner what it is for, and revoke it unless its use begins now.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI1"]
#   needs: [tokens]
#   params:
#     max_unused_days:
#       default: 14
#       description: Age in days up to which a token may be without a first use
package patrol.token.never_used

import data.patrol.lib

# idle_days is the age of a token that was never used. Unlike age_days it is known
# of every token that was used, so that none is unknown for want of its creation.
deny contains message if {
	input.token.used == false
	input.token.idle_days > input.params.max_unused_days
	message := sprintf("never used in %s, limit %v", [lib.days(input.token.idle_days), input.params.max_unused_days])
}
