package engine

import (
	"strings"
	"testing"
)

// TestPerson: an address is read however a person wrote it. What only looks like
// one is refused: it would be somebody else.
func TestPerson(t *testing.T) {
	for _, text := range []string{
		"ann@example.com", " Ann@Example.com\u00a0", "Ann Lee <ann@example.com>", "mailto:ann@example.com", "ann@example.com (lead)",
		"mailto:ann@example.com?subject=x", "MAILTO:ann%40example.com?subject=a%20b&cc=ben@example.com", "<mailto:ann@example.com?subject=x>", "Ann <mailto:ann@example.com>",
		"ann\u200b@example.com", "\ufeffann@exam\u00adple.com\u2060", "ａｎｎ@example.com", "ann＠ｅｘａｍｐｌｅ．ｃｏｍ", "Jörg \u202eNNA <ann@example.com>",
	} {
		if address, err := Person(text); err != nil || !strings.EqualFold(address, "ann@example.com") {
			t.Errorf("%q: %q, %v", text, address, err)
		}
	}
	for _, text := range []string{"", "ann", "\u0430nn@example.com", "ann@ex\u0430mple.com", "a\u0301nn@example.com", "ann@example.com, ben@example.com", "ann@", "https://example.com/ann", "mailto:"} {
		if address, err := Person(text); err == nil {
			t.Errorf("%q is taken for %q", text, address)
		}
	}
}
