# METADATA
# title: Federation policy admits more than one workload
# description: >-
#   A federation policy whose subject holds a wildcard lets any branch, pull request or
#   repository that matches sign in as the service principal, with all its rights.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-013
#   severity: high
#   remedy: manual
#   remediation: >-
#     Name one subject, best that of a protected environment, in each policy; make a
#     policy for each workload.
#   controls:
#     nist-800-53r5: ["AC-6", "IA-5"]
#     iso-27001-2022: ["A.5.16"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI3", "NHI5"]
#   needs: [federation_policies]
package patrol.workspace.federation_subject

deny contains finding if {
	some policy in input.workspace.federation_policies
	regex.match(`[*?]`, policy.subject)
	finding := {
		"msg": sprintf("federation policy %s of service principal %s admits %s", [policy.id, policy.service_principal, policy.subject]),
		"federation_policies": policy.id,
		"subjects": policy.subject,
	}
}
