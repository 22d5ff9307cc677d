# METADATA
# title: Token's owner does not exist
# description: >-
#   The directory does not know the token's owner: the account was deleted, and the
#   token is left over. Nobody answers for it.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-011
#   severity: critical
#   remedy: revoke
#   remediation: >-
#     Revoke the token now. Find out from the audit log what used it, and give that
#     a service principal of its own.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-2(3)(b)"]
#     iso-27001-2022: ["A.5.17", "A.6.5"]
#     pci-dss-4: ["8.6.3", "8.2.5"]
#     soc2: ["CC6.1", "CC6.2", "CC6.3"]
#     owasp-nhi: ["NHI1"]
#   needs: [tokens, principals]
package patrol.token.owner_missing

deny contains message if {
	input.owner.kind == "missing"
	message := sprintf("owner %s is not in the directory", [input.owner.id])
}
