package policy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"

	"patrol/engine"
)

// writeBundle makes a bundle of one policy, signed when key is not empty.
func writeBundle(t *testing.T, key string, data map[string]any) string {
	t.Helper()
	if data == nil {
		data = map[string]any{}
	}
	text := lintable + lintableRule
	b := bundle.Bundle{
		Manifest: bundle.Manifest{Revision: "1"},
		Data:     data,
		Modules:  []bundle.ModuleFile{{URL: "/token/old.rego", Path: "/token/old.rego", Raw: []byte(text), Parsed: ast.MustParseModuleWithOpts(text, ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true})}},
	}
	b.Manifest.Init()
	if key != "" {
		if err := b.GenerateSignature(bundle.NewSigningConfig(key, "ES256", ""), "somebody", false); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := bundle.NewWriter(&out).DisableFormat(true).Write(b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pack.tar.gz")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newKey(t *testing.T) (private string, public []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	open, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: open})
}

func TestBundles(t *testing.T) {
	t.Parallel()
	private, public := newKey(t)
	_, other := newKey(t)
	for _, tc := range []struct {
		name      string
		path      string
		key       []byte
		wantError string
	}{
		{"unsigned, no key", writeBundle(t, "", nil), nil, ""},
		{"signed, no key", writeBundle(t, private, nil), nil, ""},
		{"signed, its key", writeBundle(t, private, nil), public, ""},
		{"signed, another key", writeBundle(t, private, nil), other, "verify"},
		{"unsigned, a key", writeBundle(t, "", nil), public, "signatures"},
		{"a key that is none", writeBundle(t, private, nil), []byte("nonsense"), "not PEM"},
		{"with data", writeBundle(t, "", map[string]any{"allow": true}), nil, "holds data (allow)"},
		{"missing", filepath.Join(t.TempDir(), "none.tar.gz"), nil, "no such file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opened, err := OpenBundle(tc.path, tc.key)
			if tc.wantError == "" {
				if err != nil {
					t.Fatal(err)
				}
				set, err := Load(t.Context(), schemas(t), opened)
				if err != nil || len(set.Policies()) != 1 {
					t.Fatalf("%d policies, %v", len(set.Policies()), err)
				}
				return
			}
			known, ok := engine.AsError(err)
			if !ok || known.Class != engine.ClassUsage || !strings.Contains(err.Error(), tc.wantError) {
				t.Fatalf("error %v, want a usage error with %q", err, tc.wantError)
			}
		})
	}
}

func TestBundleThatWasChangedIsRefused(t *testing.T) {
	t.Parallel()
	private, public := newKey(t)
	path := writeBundle(t, private, nil)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		changed := bytes.Clone(text)
		changed[i] ^= 0x10
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		opened, err := OpenBundle(path, public)
		if err != nil {
			continue
		}
		// The change did not reach a file's content (a gzip header, for example).
		if got, err := opened.FS.Open("token/old.rego"); err != nil {
			t.Fatalf("byte %d: accepted without the policy: %v", i, err)
		} else {
			var content bytes.Buffer
			_, _ = content.ReadFrom(got)
			if content.String() != lintable+lintableRule {
				t.Fatalf("byte %d: accepted with another policy", i)
			}
		}
	}
}
