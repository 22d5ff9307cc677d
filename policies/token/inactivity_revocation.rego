# METADATA
# title: Platform is about to revoke the token
# description: >-
#   Databricks revokes a token after 90 days without use, whatever its expiry, and
#   the token then vanishes. A job that runs once a quarter finds out when it fails;
#   service principals get no notice that anybody is sure to read.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-006
#   severity: medium
#   remedy: notify
#   remediation: >-
#     Tell the owner: use the token before the platform's limit if it is still
#     needed, or let it go.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-2(3)"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#   needs: [tokens, principals]
#   params:
#     warn_idle_days:
#       default: 75
#       description: Idle days from which on to warn
#     platform_idle_days:
#       default: 90
#       description: Idle days at which the platform revokes a token
#     owner_kinds:
#       default: [service_principal]
#       enum: [user, service_principal, missing]
#       description: Kinds of owners to warn about (user, service_principal, missing)
package patrol.token.inactivity_revocation

import data.patrol.lib

deny contains message if {
	input.token.idle_days >= input.params.warn_idle_days
	input.token.idle_days < input.params.platform_idle_days
	input.owner.kind in input.params.owner_kinds
	message := sprintf("unused for %s, the platform revokes at %v", [
		lib.days(input.token.idle_days),
		input.params.platform_idle_days,
	])
}
