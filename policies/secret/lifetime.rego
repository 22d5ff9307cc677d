# METADATA
# title: OAuth secret lives longer than allowed
# description: >-
#   A secret that never expires, or only in years, is good for whoever finds it for as
#   long.
# schemas:
#   - input: schema.secret
# custom:
#   id: SP-002
#   severity: high
#   remedy: manual
#   remediation: >-
#     Replace it by a secret with a lifetime, and delete this one; better, use token
#     federation, which needs none.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI7"]
#   needs: [service_principal_secrets]
#   params:
#     max_lifetime_days:
#       default: 730
#       description: Longest lifetime allowed in days
package patrol.secret.lifetime

import data.patrol.lib

applicable if {
	input.secret.status != "INACTIVE"
	input.secret.expired == false
}

deny contains "secret never expires" if input.secret.never_expires

deny contains finding if {
	input.secret.lifetime_days > input.params.max_lifetime_days
	finding := {
		"msg": sprintf("secret lives %s, limit %v", [lib.days(input.secret.lifetime_days), input.params.max_lifetime_days]),
		"created_at": input.secret.created_at,
		"expires_at": input.secret.expires_at,
	}
}
