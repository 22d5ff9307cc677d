package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
)

// A directory is read within bounds, and nothing beside it.
func TestOpenDirectory(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside.rego")
	if err := os.WriteFile(outside, []byte("package patrol.token.x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make func(dir string) error
		want string
	}{
		"a policy": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "token/a.rego"), []byte("package a"), 0o600)
		}, ""},
		"a link within":  {func(dir string) error { return os.Symlink("b.rego", filepath.Join(dir, "token/a.rego")) }, ""},
		"a link outside": {func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "token/a.rego")) }, "escapes"},
		"a link up": {func(dir string) error {
			return os.Symlink("../../../../../../etc/hostname", filepath.Join(dir, "token/a.rego"))
		}, "escapes"},
		"a schema outside": {func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "schemas/token.json")) }, "escapes"},
		"a pipe":           {func(dir string) error { return makePipe(filepath.Join(dir, "token/a.rego")) }, "is no regular file"},
		"a directory":      {func(dir string) error { return os.Mkdir(filepath.Join(dir, "token/a.rego"), 0o700) }, ""},
		"a large file": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "token/a.rego"), make([]byte, maxFile+1), 0o600)
		}, "larger than"},
		"a sparse file": {func(dir string) error {
			if err := os.WriteFile(filepath.Join(dir, "token/a.rego"), nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(filepath.Join(dir, "token/a.rego"), 1<<40)
		}, "larger than"},
		"a name of control characters": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "token/\x1b[2J.rego"), nil, 0o600) }, "not seen"},
		"much in all": {func(dir string) error {
			for i := range 18 {
				if err := os.WriteFile(filepath.Join(dir, "token", string(rune('a'+i))+".rego"), make([]byte, maxFile), 0o600); err != nil {
					return err
				}
			}
			return nil
		}, "more than 16 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, folder := range []string{"token", "schemas"} {
				if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "token/b.rego"), []byte("package b"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := c.make(dir); err != nil {
				t.Skip(err)
			}
			done := make(chan error, 1)
			go func() { _, err := OpenDirectory(dir); done <- err }()
			select {
			case err := <-done:
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("it waits")
			}
		})
	}
	if _, err := OpenDirectory(BuiltIn); err == nil || !strings.Contains(err.Error(), "patrol's own") {
		t.Errorf("a pack called built-in: %v", err)
	}
}

// A bundle is unpacked within the same bounds.
func TestBundleIsBounded(t *testing.T) {
	t.Parallel()
	_, public := newKey(t)
	for name, c := range map[string]struct {
		headers []tar.Header
		size    int64
		want    string
	}{
		"a link":           {[]tar.Header{{Name: "token/a.rego", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}}, 0, "is no regular file"},
		"a device":         {[]tar.Header{{Name: "token/a.rego", Typeflag: tar.TypeChar}}, 0, "is no regular file"},
		"a file twice":     {[]tar.Header{{Name: "token/a.rego"}, {Name: "/token/../token/a.rego"}}, 1, "twice"},
		"a large file":     {[]tar.Header{{Name: "token/a.rego"}}, maxFile + 1, "larger than"},
		"a bomb":           {[]tar.Header{{Name: "x.bin"}}, 4 * maxPack, "larger than"},
		"control":          {[]tar.Header{{Name: "token/\x1b.rego"}}, 1, "not seen"},
		"a file in data":   {[]tar.Header{{Name: "a/data.json"}}, 2, "holds data"},
		"not of a program": {[]tar.Header{{Name: "token/a.rego"}}, 1, "signatures"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			packed := gzip.NewWriter(&out)
			archive := tar.NewWriter(packed)
			for _, h := range c.headers {
				h.Size = c.size
				if err := archive.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
				if _, err := archive.Write(make([]byte, c.size)); err != nil {
					t.Fatal(err)
				}
			}
			if err := archive.Close(); err != nil {
				t.Fatal(err)
			}
			if err := packed.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "pack.tar.gz")
			if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			var key []byte
			if c.want == "signatures" {
				key = public
			}
			if _, err := OpenBundle(path, key); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Ids and aliases are one name each, in any letter case, over all packs.
func TestNamesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	own := pack("own", map[string]string{
		"token/a.rego": enginetest.PolicyText("token", "a", "A-1", `aliases: ["sat:1"]`, `deny contains "x" if input.token.used`),
		"token/b.rego": enginetest.PolicyText("token", "b", "A-2", `aliases: ["sat:1"]`, `deny contains "x" if input.token.used`),
	})
	for custom, want := range map[string]string{
		"": "", `aliases: ["SAT:1"]`: "SAT:1", `aliases: ["a-1"]`: "a-1", `aliases: ["mine:1"]`: "",
	} {
		_, err := Load(t.Context(), schemas(t), own, pack("other", map[string]string{
			"token/c.rego": enginetest.PolicyText("token", "c", "C-1", custom, `deny contains "x" if input.token.used`),
		}))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), "other/token/c.rego: policy_duplicate_id: id "+want+" is already that of own/") {
			t.Errorf("%s: %v", custom, err)
		}
	}
	if text := problemsOf(t, map[string]string{"lib/l.rego": "package patrol.lib\n\nx := 1\n"}).Error(); !strings.Contains(text, "is patrol's own") {
		t.Error(text)
	}
	if text := problemsOf(t, enginetest.TokenPolicy(`remediation: "\e[2J"`, `deny contains "x" if input.token.used`)).Error(); !strings.Contains(text, "not seen") {
		t.Error(text)
	}
}

// A parameter with a closed set of values refuses others, and numbers below zero.
func TestValuesOfParameters(t *testing.T) {
	t.Parallel()
	set := builtIn(t)
	for id, params := range map[string]map[string]any{
		"PAT-006": {"owner_kinds": []any{"user", "missing"}},
		"PAT-019": {"allowed_domains": []any{"example.com", "*.example.com", "@Example.org", "müller.example"}},
		"WV-002":  {"never_severities": []any{"high"}},
		"PAT-004": {"max_idle_days": int64(0)},
	} {
		if err := set.CheckTuning(map[string]Tuning{id: {Params: params}}); err != nil {
			t.Errorf("%s %v: %v", id, params, err)
		}
	}
	for _, c := range []struct {
		id, param, want string
		value           any
	}{
		{"PAT-006", "owner_kinds", `"User": want one of user, service_principal, missing`, []any{"User"}},
		{"PAT-019", "allowed_domains", `"" does not match`, []any{""}},
		{"PAT-019", "allowed_domains", `" example.com" does not match`, []any{" example.com"}},
		{"PAT-019", "allowed_domains", `"*" does not match`, []any{"*"}},
		{"PAT-019", "allowed_domains", `"ann@example.com" does not match`, []any{"ann@example.com"}},
		{"WV-002", "never_severities", `"grave": want one of`, []any{"grave"}},
		{"PAT-004", "max_idle_days", "-1 is negative", int64(-1)},
	} {
		err := set.CheckTuning(map[string]Tuning{c.id: {Params: map[string]any{c.param: c.value}}})
		if e, ok := engine.AsError(err); !ok || e.Class != engine.ClassUsage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s %v: %v, want %s", c.id, c.param, c.value, err, c.want)
		}
	}
	for custom, want := range map[string]string{
		`params: {kind: {default: cat, description: D, enum: [dog]}}`:        `want one of dog`,
		`params: {kind: {default: cat, description: D, enum: []}}`:           "enum: want",
		`params: {kind: {default: cat, description: D, pattern: "["}}`:       "pattern:",
		`params: {kind: {default: cat, description: D, pattern: "c.t.*ty"}}`: "does not match",
	} {
		if text := problemsOf(t, enginetest.TokenPolicy(custom, `deny contains "x" if input.token.comment == input.params.kind`)).Error(); !strings.Contains(text, want) {
			t.Errorf("%s: %s", custom, text)
		}
	}
}
