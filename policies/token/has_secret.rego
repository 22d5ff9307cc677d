# METADATA
# title: Service principal holds a token though it has an OAuth secret
# description: >-
#   A service principal with an OAuth secret signs in for an hour at a time. A token
#   beside it is a second way in that lasts for months, and one more place to forget.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-029
#   severity: low
#   remedy: notify
#   remediation: >-
#     Have whatever uses the token sign in with OAuth (`patrol migrate` writes how), then
#     revoke the token.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI4"]
#   needs: [tokens, principals, service_principal_secrets]
package patrol.token.has_secret

deny contains "owner has an OAuth secret, and needs no token" if {
	input.owner.kind == "service_principal"
	some secret in input.workspace.service_principal_secrets
	secret.status == "ACTIVE"
	secret.service_principal_id == input.owner.id
}
