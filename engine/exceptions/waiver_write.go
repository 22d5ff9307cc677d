package exceptions

import (
	"fmt"
	"regexp"
	"strings"

	"patrol/engine"
)

var firstItem = regexp.MustCompile(`(?m)^( *)- `)

// Append is the text of a waivers file with one more waiver at its end; of an
// empty text it makes a new file.
func Append(text string, r engine.WaiverRule) (string, error) {
	for _, id := range []string{r.Workspace, r.Token, r.Secret} {
		if strings.ContainsAny(id, "*?") {
			return "", fmt.Errorf("%q holds * or ?, which mean more than themselves in a waiver", id)
		}
	}
	indent := "  "
	if first := firstItem.FindStringSubmatch(text); first != nil {
		indent = first[1]
	} else if strings.TrimSpace(text) == "" {
		text = "# yaml-language-server: $schema=waivers.schema.json (patrol schema waivers > waivers.schema.json)\nwaivers:\n"
	} else {
		text = strings.TrimSuffix(strings.TrimSpace(text), "[]") + "\n"
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	quoted := func(text string) string { return string(engine.CompactJSON(engine.SafeText(text))) } // YAML reads JSON's quotes
	mark := indent + "- "
	for _, pair := range [][2]string{{"id", r.ID}, {"policy", strings.Join(r.Policies, ", ")}, {"workspace", r.Workspace}, {"token", r.Token}, {"secret", r.Secret},
		{"reason", r.Reason}, {"ticket", r.Ticket}, {"approver", r.Approver}} {
		if pair[1] != "" {
			text += mark + pair[0] + ": " + quoted(pair[1]) + "\n"
			mark = indent + "  "
		}
	}
	return text + mark + "created: " + r.Created.String() + "\n" + mark + "expires: " + r.Expires.String() + "\n", nil
}
