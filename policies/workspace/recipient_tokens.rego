# METADATA
# title: Token of a share's recipient lives too long
# description: >-
#   A recipient of shared data signs in with a token that the platform issued once.
#   Whoever finds it reads what is shared, until it ends.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-015
#   severity: medium
#   remedy: manual
#   remediation: >-
#     Set a lifetime for recipients' tokens on the metastore and rotate the token, or let
#     the recipient sign in by OpenID Connect federation.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.14", "A.5.17"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI7"]
#   aliases: ["sat:GOV-17", "sat:GOV-18"]
#   needs: [recipients]
#   params:
#     max_lifetime_days:
#       default: 90
#       description: Longest lifetime allowed in days
package patrol.workspace.recipient_tokens

import data.patrol.lib

deny contains finding if {
	some recipient in input.workspace.recipients
	some token in recipient.tokens
	not token.expires_ms
	finding := {
		"msg": sprintf("a token of recipient %s has no expiration time", [recipient.name]),
		"recipients": recipient.name,
	}
}

deny contains finding if {
	some recipient in input.workspace.recipients
	some token in recipient.tokens
	token.expires_ms > time.parse_rfc3339_ns(input.as_of) / 1000000
	days := floor((token.expires_ms - token.created_ms) / 86400000)
	days > input.params.max_lifetime_days
	finding := {
		"msg": sprintf("a token of recipient %s lives %s, limit %v", [recipient.name, lib.days(days), input.params.max_lifetime_days]),
		"recipients": recipient.name,
	}
}
