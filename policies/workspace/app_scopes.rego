# METADATA
# title: OAuth app without a secret opens every API
# description: >-
#   Anybody can pose as an app that has no secret. One that may ask for every API turns
#   a single mistaken consent into all that the person may do.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-018
#   severity: medium
#   remedy: manual
#   remediation: >-
#     Give the app the scopes that it needs and no more, or make it a confidential client.
#   controls:
#     nist-800-53r5: ["AC-6"]
#     iso-27001-2022: ["A.8.3"]
#     soc2: ["CC6.3"]
#     owasp-nhi: ["NHI5"]
#   needs: [oauth_apps]
package patrol.workspace.app_scopes

import data.patrol.lib

deny contains finding if {
	some app in input.workspace.oauth_apps
	app.confidential == false
	"all-apis" in app.scopes
	finding := {"msg": sprintf("app %s has no secret and may use every API", [app.name]), "apps": lib.app_name(app, input.workspace.oauth_apps)}
}
