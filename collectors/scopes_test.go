package collectors_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"patrol/collectors"
	"patrol/engine"
)

// TestAuditorNeedsTheScopesOfCollectors: WS-007 tells an auditor the scopes that
// the sections of every audit need, and those of usage, and no others.
func TestAuditorNeedsTheScopesOfCollectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../policies/workspace/auditor_token.rego")
	if err != nil {
		t.Fatal(err)
	}
	metadata, _, _ := strings.Cut(string(text), "\npackage ")
	told := regexp.MustCompile(`[a-z-]+:(read|restricted-query)\b`).FindAllString(metadata, -1)
	var need []string
	for _, c := range collectors.All() {
		if c.OnRequest == "" || c.Section == engine.SectionAuditLog {
			need = append(need, c.Scopes...)
		}
	}
	slices.Sort(told)
	slices.Sort(need)
	if told, need = slices.Compact(told), slices.Compact(need); !slices.Equal(told, need) {
		t.Errorf("WS-007 names %v, the collectors need %v", told, need)
	}
}
