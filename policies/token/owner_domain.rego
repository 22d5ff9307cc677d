# METADATA
# title: Token's owner is outside the allowed domains
# description: >-
#   An owner whose e-mail address is of another organisation is not covered by your
#   joining and leaving procedures.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-019
#   severity: high
#   remedy: revoke
#   remediation: >-
#     Revoke the token and remove the user, or add the domain to allowed_domains if
#     the guest is expected.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-2"]
#     iso-27001-2022: ["A.5.17", "A.5.16"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#   needs: [tokens, principals]
#   params:
#     allowed_domains:
#       default: []
#       pattern: (\*\.|@)?[^@*\s./]+(\.[^@*\s./]+)*
#       description: E-mail domains whose users may own tokens; *.example.com are all subdomains of example.com, without itself. The policy applies only when set
package patrol.token.owner_domain

applicable if count(input.params.allowed_domains) > 0

deny contains message if {
	input.owner.kind == "user"
	not allowed
	message := sprintf("owner %s is outside %s", [input.owner.name, concat(", ", input.params.allowed_domains)])
}

allowed if {
	some domain in input.params.allowed_domains
	not startswith(domain, "*.")
	endswith(lower(input.owner.name), concat("@", ["", trim_left(lower(domain), "@")]))
}

allowed if {
	some domain in input.params.allowed_domains
	startswith(domain, "*.")
	contains(input.owner.name, "@")
	endswith(lower(input.owner.name), substring(lower(domain), 1, -1))
}
