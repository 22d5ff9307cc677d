# METADATA
# title: Token may write and only reads
# description: >-
#   In the time of the audit log the token was used to read and nothing else, but its
#   scopes let it write. With the modifier :read it works on, and a thief can change
#   nothing.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-027
#   severity: medium
#   remedy: narrow-scopes
#   remediation: >-
#     Narrow the token to the reading part of its scopes. The audit log does not have
#     every call that reads: ask the owner about those of an unrestricted token.
#   controls:
#     nist-800-53r5: ["IA-5", "AC-6"]
#     iso-27001-2022: ["A.5.17", "A.8.3"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI5"]
#   needs: [tokens, audit_log]
#   params:
#     min_days_used:
#       default: 7
#       description: Days of use that tell enough of a token
package patrol.token.read_only_use

# A few days of use tell too little.
applicable if not little_used

little_used if input.token.audit_days_used < input.params.min_days_used

deny contains finding if {
	count(input.token.read_only_scopes) > 0
	finding := {
		"msg": sprintf("may write with %s, but only read on %v days", [
			concat(", ", input.token.writing_scopes),
			input.token.audit_days_used,
		]),
		"read_only_scopes": input.token.read_only_scopes,
		"audit_calls": input.token.audit_calls,
	}
}
