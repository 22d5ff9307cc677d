# METADATA
# title: Token may mint other tokens
# description: >-
#   The scope named authentication lets a token make new tokens with any scope, so
#   it is as good as an unrestricted one and outlives its own revocation. With the
#   modifier :read it makes none.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-013
#   severity: critical
#   remedy: narrow-scopes
#   remediation: >-
#     Take the scope from the token, or revoke the token. Then review the tokens
#     that its owner has made since.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-6"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI5"]
#   needs: [tokens]
#   params:
#     minting_scopes:
#       default: [authentication]
#       description: Scopes with which a token can make tokens of any scope
package patrol.token.minting_scope

import data.patrol.lib

deny contains message if {
	some scope in input.token.scopes
	scope in input.token.writing_scopes
	lib.one_of(split(scope, ":")[0], input.params.minting_scopes)
	message := sprintf("holds scope %s, which makes tokens of any scope", [scope])
}
