# METADATA
# title: The audit itself signs in with a token
# description: >-
#   Whoever audits tokens needs the rights of an admin. A personal access token with
#   these rights is the kind of secret that the audit is about.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-007
#   severity: info
#   remedy: manual
#   remediation: >-
#     Sign in with OAuth: a service principal that is a workspace admin (client id and
#     secret), or token federation in a pipeline.
#   controls:
#     nist-800-53r5: ["IA-5"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI4"]
#   needs: [workspace]
package patrol.workspace.auditor_token

deny contains "patrol signs in with a personal access token" if input.workspace.caller.auth_type == "pat"
