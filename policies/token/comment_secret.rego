# METADATA
# title: Comment holds a secret
# description: >-
#   Every admin, every export and every report can read a comment. A secret written
#   there has to be taken for lost, whatever it opens.
# schemas:
#   - input: schema.token
# custom:
#   id: PAT-021
#   severity: critical
#   remedy: set-comment
#   remediation: >-
#     Replace the secret where it is used, then clear the comment. Look for copies in
#     exports of the token list.
#   controls:
#     nist-800-53r5: ["IA-5", "IA-5(7)"]
#     iso-27001-2022: ["A.5.17"]
#     pci-dss-4: ["8.6.3"]
#     soc2: ["CC6.1"]
#     owasp-nhi: ["NHI2"]
#   needs: [tokens]
package patrol.token.comment_secret

# The kind of secret is told, never its value.
deny contains finding if {
	some any_pattern in patterns # asked first, and of the comment alone, it can be asked without Rego
	regex.match(any_pattern, input.token.comment)
	kinds := sort({kind | some kind, pattern in patterns; regex.match(pattern, input.token.comment)})
	finding := {
		"msg": sprintf("comment holds %s", [concat(", ", kinds)]),
		"kinds": kinds,
	}
}

patterns := {
	"an AWS access key": `\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`,
	"a Databricks token": `(?:dapi|dkea|dose)[0-9a-f]{32}`,
	"a GitHub token": `gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22}`,
	"a JSON web token": `\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}`,
	# Prose about passwords holds none: a colon counts only where no space follows,
	# and placeholders such as ${PASSWORD}, <password> or **** do not count.
	"a password": concat("", [
		`(?i)(?:^|[^a-z0-9])(?:(?:password|passwd|pwd)(?:\s*=\s*|:)|(?:secret|api[_-]?key)\s*=\s*)`,
		`["']?[^\s"'$<{(\[*]\S{3}`,
	]),
	"a private key": `-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY`,
	"a Slack token": `xox[a-z]-[A-Za-z0-9-]{10}`,
}
