# METADATA
# title: Owner holds too many live tokens
# description: >-
#   Whoever holds many tokens no longer knows where each of them is. Old ones are
#   easily forgotten beside new ones.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-022
#   severity: low
#   remedy: notify
#   remediation: Ask the owner which tokens are needed, and revoke the others.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-6"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#   needs: [tokens, principals]
#   params:
#     max_live_tokens:
#       default: 5
#       description: Tokens that one owner may hold in a workspace, expired ones not counted
package patrol.token.too_many

deny contains message if {
	input.owner.live_tokens > input.params.max_live_tokens
	message := sprintf("owner holds %v live tokens, limit %v", [input.owner.live_tokens, input.params.max_live_tokens])
}
