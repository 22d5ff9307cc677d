# METADATA
# title: Admins may make tokens for any service principal
# description: >-
#   Every workspace admin can make a token in the name of any service principal and then
#   act with its rights, also those that the admin does not have.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-008
#   severity: high
#   remedy: manual
#   remediation: >-
#     As an account admin who is a member of the workspace, set
#     restrict_workspace_admins to RESTRICT_TOKENS_AND_JOB_RUN_AS. Give the role of a
#     service principal user to those who need it first.
#   controls:
#     nist-800-53r5: ["AC-6"]
#     iso-27001-2022: ["A.8.2"]
#     soc2: ["CC6.3"]
#     owasp-nhi: ["NHI5"]
#   aliases: ["sat:GOV-35"]
#   needs: [restrict_workspace_admins]
package patrol.workspace.admins_mint

deny contains "restrict_workspace_admins is ALLOW_ALL" if input.workspace.restrict_workspace_admins.status == "ALLOW_ALL"
