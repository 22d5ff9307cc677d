package engine_test

import (
	"testing"

	"patrol/engine"
)

// TestNamed: the row names its creator; the owner only where both are known to be
// the same.
func TestNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ owner, creator, want string }{
		{"7", "7", "ann@example.com"}, {"7", "8", ""}, {"", "", ""}, {"7", "", ""},
	} {
		s := engine.Subject{Token: engine.Token{OwnerID: test.owner, CreatorID: test.creator, CreatorName: "ann@example.com"}, Owner: engine.Party{ID: test.owner}, Creator: engine.Party{ID: test.creator}}.Named()
		if s.Owner.Listed != test.want || s.Creator.Listed != "ann@example.com" {
			t.Errorf("owner %q, creator %q: named %q and %q", test.owner, test.creator, s.Owner.Listed, s.Creator.Listed)
		}
	}
}
