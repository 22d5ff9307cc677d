# METADATA
# title: Service principal holds a token though it can federate
# description: >-
#   The account has a federation policy for this service principal: its pipeline can
#   sign in with its own identity, without any secret. The token is a second way in that
#   lasts for months and can be copied.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-028
#   severity: medium
#   remedy: notify
#   remediation: >-
#     Have the pipeline sign in by its federation policy (`patrol migrate` writes how),
#     then revoke the token.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI4"]
#   needs: [tokens, principals, federation_policies]
package patrol.token.federated

deny contains finding if {
	input.owner.kind == "service_principal"
	some policy in input.workspace.federation_policies
	policy.service_principal_id == input.owner.id
	finding := {
		"msg": "owner has a federation policy, and needs no token",
		"issuer": policy.issuer,
		"subject": policy.subject,
	}
}
