# METADATA
# title: Service principal uses a personal access token
# description: >-
#   A service principal can sign in with OAuth or workload identity federation,
#   whose secrets last an hour. A personal access token lasts months and is copied
#   into configurations.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-016
#   severity: medium
#   remedy: notify
#   remediation: >-
#     Ask whoever runs the service principal to move to OAuth (M2M) or to token
#     federation, then revoke the token.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI4"]
#   needs: [tokens, principals]
package patrol.token.service_principal

deny contains "owner is a service principal" if input.owner.kind == "service_principal"
