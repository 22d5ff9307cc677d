# METADATA
# title: Tokens can be used from anywhere
# description: >-
#   A token is a bearer secret: whoever holds it may use it. A list of allowed addresses
#   is what keeps a leaked one from being used elsewhere, and this workspace has none
#   that works.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-005
#   severity: high
#   remedy: manual
#   remediation: >-
#     Make an ALLOW list of your own addresses, including those that pipelines and
#     patrol come from, and only then set enableIpAccessLists to true: whoever is not on
#     it is locked out at once.
#   controls:
#     nist-800-53r5: ["AC-17", "SC-7"]
#     iso-27001-2022: ["A.8.20"]
#     soc2: ["CC6.6"]
#   aliases: ["sat:NS-5", "sat:NS-11"]
#   needs: [settings.enableTokensConfig, settings.enableIpAccessLists, ip_access_lists]
#   params:
#     min_prefix_length:
#       default: 8
#       description: Ranges with a shorter prefix than this, such as 0.0.0.0/0, count as every address
package patrol.workspace.ip_access

applicable if not off

off if input.workspace.pats_enabled == false

deny contains "IP access lists are not enabled" if not enabled

deny contains "no list of allowed addresses is enabled" if {
	enabled
	count(allowing) == 0
}

deny contains finding if {
	enabled
	some list in allowing
	ranges := [address |
		some address in list.addresses
		everywhere(address)
	]
	count(ranges) > 0
	finding := {
		"msg": sprintf("list %s allows every address", [list.label]),
		"ranges": ranges,
	}
}

enabled if lower(input.workspace.settings.enableIpAccessLists) == "true"

allowing contains list if {
	some list in input.workspace.ip_access_lists
	list.type == "ALLOW"
	list.enabled
	count(list.addresses) > 0
}

everywhere(address) if to_number(split(address, "/")[1]) < input.params.min_prefix_length
