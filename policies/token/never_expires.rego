# METADATA
# title: Token never expires
# description: >-
#   A token without an end works until somebody revokes it. If it leaks, or its
#   owner leaves, nothing else ever closes the door.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-001
#   severity: high
#   remedy: revoke
#   remediation: >-
#     Ask the owner to make a replacement that expires, or to move to OAuth, then
#     revoke this token.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     cis-azure-foundations-6.0: ["2.1.6"]
#   aliases: ["sat:IA-4"]
#   needs: [tokens]
package patrol.token.never_expires

deny contains "never expires" if input.token.never_expires
