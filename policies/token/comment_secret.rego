# METADATA
# title: Comment holds a secret
# description: >-
#   Every admin, every export and every report can read a comment. A secret written
#   there has to be taken for lost, whatever it opens.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-021
#   severity: critical
#   remedy: set-comment
#   remediation: >-
#     Replace the secret where it is used, then clear the comment. Look for copies in
#     exports of the token list.
#   controls:
#     nist-800-53r5: ["IA-5", "IA-5(7)"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI2"]
#   needs: [tokens]
package patrol.token.comment_secret

# The kind of secret is told, never its value. The same table of kinds, in base64 too,
# decides what everything that patrol writes leaves out.
deny contains finding if {
	count(input.token.comment_secrets) > 0
	finding := {
		"msg": sprintf("comment holds %s", [concat(", ", input.token.comment_secrets)]),
		"kinds": input.token.comment_secrets,
	}
}
