package engine

import (
	"regexp"
	"sync"
)

// secretPattern finds one kind of secret in foreign text. Where it has a group,
// only that is taken out.
type secretPattern struct {
	kind    string
	pattern *regexp.Regexp
}

// secretPatterns are those of the policy on secrets in comments (PAT-021), each
// drawn out to where the secret ends.
var secretPatterns = sync.OnceValue(func() []secretPattern {
	return []secretPattern{
		{"private key", regexp.MustCompile(`(?s)-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY.*`)},
		{"JSON web token", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9_.-]*`)},
		{"Databricks token", regexp.MustCompile(`(?:dapi|dkea|dose)[0-9a-f]{32}(?:-[0-9]+)?`)},
		{"AWS access key", regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`)},
		{"GitHub token", regexp.MustCompile(`gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}`)},
		{"Slack token", regexp.MustCompile(`xox[a-z]-[A-Za-z0-9-]{10,}`)},
		{"password", regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(?:(?:password|passwd|pwd)(?:\s*=\s*|:)|(?:secret|api[_-]?key)\s*=\s*)(["']?[^\s"'$<{(\[*]\S{3,})`)},
	}
})

// RedactSecrets takes secrets out of foreign text, such as a token's comment,
// and says in their place what was there. Everything that patrol writes shows
// comments through it; the policies see them as they are.
func RedactSecrets(text string) string {
	for _, secret := range secretPatterns() {
		if found := secret.pattern.FindAllStringSubmatchIndex(text, -1); found != nil {
			text = cutOut(text, found, "[redacted "+secret.kind+"]")
		}
	}
	return text
}

// cutOut replaces each match, or its group, by a notice.
func cutOut(text string, found [][]int, notice string) string {
	out, at := "", 0
	for _, match := range found {
		from, to := match[0], match[1]
		if len(match) > 2 {
			from, to = match[2], match[3]
		}
		out += text[at:from] + notice
		at = to
	}
	return out + text[at:]
}
