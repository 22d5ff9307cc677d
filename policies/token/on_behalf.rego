# METADATA
# title: Token was made on behalf of another
# description: >-
#   Somebody made this token in another principal's name and has seen its value. That
#   is usual for service principals, and a way to act as them unseen.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-018
#   severity: info
#   remedy: manual
#   remediation: >-
#     Confirm that the creator was meant to make it and no longer keeps the value;
#     otherwise revoke it and let the owner make its own.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-2"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1", "CC6.2"]
#   needs: [tokens]
package patrol.token.on_behalf

deny contains message if {
	input.token.on_behalf
	message := sprintf("made by principal %s for %s", [input.token.creator_id, input.token.owner_id])
}
