# METADATA
# title: Recipient of a share may come from anywhere
# description: >-
#   A recipient that signs in with a token and has no list of addresses can be read as
#   from anywhere by whoever holds the token.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-016
#   severity: low
#   remedy: manual
#   remediation: >-
#     Give the recipient an IP access list, or let it sign in by OpenID Connect federation.
#   controls:
#     nist-800-53r5: ["AC-3", "SC-7"]
#     iso-27001-2022: ["A.5.14"]
#     soc2: ["CC6.6"]
#   aliases: ["sat:GOV-19"]
#   needs: [recipients]
package patrol.workspace.recipient_addresses

deny contains finding if {
	some recipient in input.workspace.recipients
	recipient.authentication_type == "TOKEN"
	count(recipient.allowed_ips) == 0
	finding := {
		"msg": sprintf("recipient %s has no list of addresses", [recipient.name]),
		"recipients": recipient.name,
	}
}
