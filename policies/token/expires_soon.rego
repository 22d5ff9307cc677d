# METADATA
# title: Token in use expires soon
# description: >-
#   What uses this token stops when it expires. Knowing in time makes the
#   replacement a task instead of an outage.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-007
#   severity: low
#   remedy: notify
#   remediation: >-
#     Tell the owner to put a replacement, or better OAuth, in place before the day
#     of expiry.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#   aliases: ["sat:GOV-2"]
#   needs: [tokens]
#   params:
#     warn_days:
#       default: 14
#       description: Days before the expiry from which on to warn
#     in_use_days:
#       default: 7
#       description: Days since the last use up to which a token counts as in use
package patrol.token.expires_soon

import data.patrol.lib

deny contains message if {
	input.token.expires_in_days <= input.params.warn_days
	input.token.used
	input.token.idle_days <= input.params.in_use_days
	message := sprintf("expires on %s (in %s), last used on %s", [
		lib.day(input.token.expires_at),
		lib.days(input.token.expires_in_days),
		lib.day(input.token.last_used_at),
	])
}
