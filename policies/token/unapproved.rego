# METADATA
# title: New token was not approved
# description: >-
#   The token was not there when the workspace was last read whole, and no approval
#   names it or its owner. Every secret should begin with somebody's yes.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-026
#   severity: medium
#   remedy: manual
#   remediation: >-
#     Ask the owner for the ticket. Add the token's id, or an owner that may always make
#     tokens, to the parameter approved; revoke the token where there is no ticket.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-2(4)"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1", "CC8.1"]
#   needs: [tokens, principals]
#   params:
#     approved:
#       default: []
#       description: Ids of approved tokens, and ids or names of owners that may always make tokens
package patrol.token.unapproved

import data.patrol.lib

# A workspace that was not read whole before has no new tokens.
applicable if is_boolean(input.token.in_previous_snapshot)

deny contains "is new since the previous snapshot, and neither it nor its owner is approved" if {
	input.token.in_previous_snapshot == false
	not approved
}

approved if lib.one_of(input.token.id, input.params.approved)

approved if lib.one_of(input.owner.id, input.params.approved)

approved if lib.one_of(input.owner.name, input.params.approved)
