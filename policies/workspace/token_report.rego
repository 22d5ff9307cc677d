# METADATA
# title: The token report and the list of tokens differ
# description: >-
#   The account console reports tokens that the workspace did not list, or does not
#   report tokens that it did. One of the two hides tokens, and an audit that rests on
#   it misses them.
# schemas:
#   - input: schema.workspace
# custom:
#   id: WS-012
#   severity: medium
#   remedy: manual
#   remediation: >-
#     Export a fresh report and audit again right after: tokens that were made or revoked
#     in between differ for no other reason. If it persists, compare the filters of the
#     report, the account and the workspace id, and ask the platform's support.
#   controls:
#     nist-800-53r5: ["AC-2(j)", "CA-7"]
#     iso-27001-2022: ["A.5.36"]
#     soc2: ["CC4.1"]
#   needs: [token_report]
#   params:
#     min_age_days:
#       default: 1
#       description: Days that a token must have existed before the report is expected to have it
package patrol.workspace.token_report

deny contains finding if {
	missing := input.workspace.token_report.missing_here
	tokens := [token.token_id |
		some token in missing
		not token.expired
	]
	count(tokens) > 0
	finding := {
		"msg": sprintf("tokens in the token report but not in the list that was read: %v%v", [
			count(tokens),
			more(missing, input.workspace.token_report.counts.missing_here),
		]),
		"not_read": tokens,
	}
}

deny contains finding if {
	missing := input.workspace.token_report.missing_there
	tokens := [token.token_id |
		some token in missing
		not token.expired
		not young(token)
	]
	count(tokens) > 0
	finding := {
		"msg": sprintf("tokens in the list that was read but not in the token report: %v%v", [
			count(tokens),
			more(missing, input.workspace.token_report.counts.missing_there),
		]),
		"not_reported": tokens,
	}
}

young(token) if token.age_days < input.params.min_age_days

more(listed, total) := "" if count(listed) >= total

more(listed, total) := " or more" if count(listed) < total
