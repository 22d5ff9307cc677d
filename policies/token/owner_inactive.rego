# METADATA
# title: Token's owner is deactivated
# description: >-
#   The owner's account was switched off, but the token was not revoked with it. It
#   works again as soon as the account does, and nobody answers for it until then.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-010
#   severity: critical
#   remedy: revoke
#   remediation: >-
#     Revoke the token now. If a job depends on it, give the job a service principal
#     of its own.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-2(3)(b)"]
#     iso-27001-2022: ["A.5.17", "A.6.5"]
#     pci-dss-4: ["8.6.3", "8.2.5"]
#     soc2: ["CC6.1", "CC6.2", "CC6.3"]
#     owasp-nhi: ["NHI1"]
#   needs: [tokens, principals]
package patrol.token.owner_inactive

deny contains "owner is deactivated" if {
	input.owner.kind != "missing"
	input.owner.active == false
}
