# METADATA
# title: Automatic scoping is off or stuck
# description: >-
#   Automatic scoping observes which APIs a token calls and narrows it to them.
#   Where it is off, or never finishes, the token keeps access to everything.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-015
#   severity: low
#   remedy: manual
#   remediation: >-
#     Make the replacement with automatic scoping on, or with scopes of its own. An
#     observation that does not end needs a look at whether the token is used at all.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#   needs: [tokens]
#   params:
#     max_observation_days:
#       default: 30
#       description: Age in days up to which the observation may still be running
package patrol.token.autoscope

import data.patrol.lib

# A platform that does not tell the state offers nothing to switch on.
applicable if input.token.autoscope_state != ""

deny contains "automatic scoping is off" if input.token.autoscope_state == "disabled"

deny contains message if {
	input.token.autoscope_state == "running"
	input.token.age_days > input.params.max_observation_days
	message := sprintf("automatic scoping still observes after %s, limit %v", [
		lib.days(input.token.age_days),
		input.params.max_observation_days,
	])
}
