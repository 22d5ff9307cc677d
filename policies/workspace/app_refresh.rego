# METADATA
# title: OAuth app keeps people signed in too long
# description: >-
#   An app's refresh token gives new access for as long as it lives, and does not end
#   when the person changes a password. One that lives for months is a personal access
#   token by another name.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-017
#   severity: medium
#   remedy: manual
#   remediation: >-
#     Shorten the lifetime of the app's refresh tokens in the account console, and let
#     each be used once only.
#   controls:
#     nist-800-53r5: ["AC-12", "IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI7"]
#   needs: [oauth_apps]
#   params:
#     max_refresh_days:
#       default: 7
#       description: Longest lifetime of a refresh token in days
package patrol.workspace.app_refresh

import data.patrol.lib

deny contains finding if {
	some app in input.workspace.oauth_apps
	app.refresh_ttl_minutes > input.params.max_refresh_days * 1440
	finding := {
		"msg": sprintf("refresh tokens of app %s live %s, limit %v", [
			app.name,
			lib.days(floor(app.refresh_ttl_minutes / 1440)),
			input.params.max_refresh_days,
		]),
		"apps": lib.app_name(app, input.workspace.oauth_apps),
	}
}
