# METADATA
# title: OAuth secret is old
# description: >-
#   A service principal's OAuth secret opens everything that the service principal may
#   do. An old one was copied more often than anybody remembers.
# schemas:
#   - input: schema.secret
# custom:
#   id: SP-001
#   severity: medium
#   remedy: manual
#   remediation: >-
#     Make a new secret, put it where the old one is used, and delete the old one;
#     better, use token federation, which needs none.
#   controls:
#     nist-800-53r5: ["IA-5", "IA-5(1)"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI7"]
#   aliases: ["sat:IA-9"]
#   needs: [service_principal_secrets]
#   params:
#     max_age_days:
#       default: 90
#       description: Age in days up to which a secret need not be replaced
package patrol.secret.age

import data.patrol.lib

applicable if {
	input.secret.status != "INACTIVE"
	input.secret.expired == false
}

deny contains finding if {
	input.secret.age_days > input.params.max_age_days
	finding := {
		"msg": sprintf("secret is %s old, limit %v", [lib.days(input.secret.age_days), input.params.max_age_days]),
		"created_at": input.secret.created_at,
	}
}
