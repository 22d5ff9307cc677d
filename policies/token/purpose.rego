# METADATA
# title: Token has no recorded purpose
# description: >-
#   The comment is the only place that says what a token is for. Without it nobody
#   can tell whether the token is still needed, or what breaks when it is revoked.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-020
#   severity: low
#   remedy: notify
#   remediation: Ask the owner what the token is for, and set its comment accordingly.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-2(j)"]
#     iso-27001-2022: ["A.5.17", "A.5.18"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#   needs: [tokens]
#   params:
#     pattern:
#       default: ""
#       description: Regular expression (RE2) that a comment must match, such as that of a ticket; empty allows any text
package patrol.token.purpose

deny contains "no comment" if blank(input.token.comment)

deny contains message if {
	not blank(input.token.comment)
	not regex.match(input.params.pattern, input.token.comment)
	message := sprintf("comment does not match %s", [input.params.pattern])
}

blank(text) if trim_space(text) == ""
