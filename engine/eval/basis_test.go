package eval

import (
	"testing"

	"patrol/engine"
	"patrol/policies"
)

// TestTrustedPacksLoadAlike: patrol's own policies are checked against the schemas
// here, and not at each start; what is loaded is the same.
func TestTrustedPacksLoadAlike(t *testing.T) {
	t.Parallel()
	trusted, err := Load(t.Context(), Pack{Name: BuiltIn, FS: policies.FS, Trusted: true})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, trusted.Policies(), builtin(t).Policies())
	equal(t, trusted.Digest(), builtin(t).Digest())
	p := trusted.policies[0]
	equal(t, p.Basis, engine.TextDigest(string(engine.CompactJSON([]any{[]string(nil), trusted.sources.schemas[p.Resource], sandboxDigestInput()}))))
}
