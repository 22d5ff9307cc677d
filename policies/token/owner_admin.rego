# METADATA
# title: Token belongs to an admin
# description: >-
#   A token can do all that its owner can. One that leaks from an admin gives away
#   the whole workspace, without a password or a second factor.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-012
#   severity: high
#   remedy: notify
#   remediation: >-
#     Ask the owner to replace it by a service principal that may do only what the
#     job needs, or by OAuth for work at the command line.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-6"]
#     iso-27001-2022: ["A.5.17", "A.8.2"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI5"]
#   needs: [tokens, principals]
package patrol.token.owner_admin

deny contains "owner is an admin" if input.owner.admin
