# METADATA
# title: Expired token is still listed
# description: >-
#   An expired token signs nobody in, so this is no danger; it is listed here
#   because no other policy judges it.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-008
#   severity: info
#   remedy: manual
#   remediation: Nothing to do. Delete it from the list if it is in the way.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#   needs: [tokens]
#   judges: expired
package patrol.token.expired

import data.patrol.lib

deny contains message if {
	input.token.expired
	message := sprintf("expired on %s", [lib.day(input.token.expires_at)])
}
