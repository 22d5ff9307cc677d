package policy

import (
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/policies"
)

// TestTrustedPacksLoadAlike: that a pack is trusted changes nothing of what is loaded;
// and the digest of a policy's basis stays what it was.
func TestTrustedPacksLoadAlike(t *testing.T) {
	t.Parallel()
	trusted, err := Load(t.Context(), Pack{Name: BuiltIn, FS: policies.FS, Trusted: true})
	if err != nil {
		t.Fatal(err)
	}
	enginetest.Equal(t, trusted.Policies(), builtIn(t).Policies())
	enginetest.Equal(t, trusted.Digest(), builtIn(t).Digest())
	p := trusted.Resources[0]
	enginetest.Equal(t, p.Basis, engine.TextDigest(string(engine.CompactJSON([]any{[]string(nil), trusted.sources.schemas[p.Resource], sandboxDigestInput()}))))
}
