package engine

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestRedactSecrets(t *testing.T) {
	t.Parallel()
	hex := strings.Repeat("0123456789abcdef", 2)
	for in, want := range map[string]string{
		"nightly load OPS-1234":                    "nightly load OPS-1234",
		"use dapi" + hex + "-3 for bi":             "use [redacted Databricks token] for bi",
		"a dose" + hex + " b dkea" + hex:           "a [redacted Databricks token] b [redacted Databricks token]",
		"key AKIA" + strings.Repeat("A1", 8) + ".": "key [redacted AWS access key].",
		"gh: ghp_" + strings.Repeat("aB3", 12):     "gh: [redacted GitHub token]",
		"eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl x": "[redacted JSON web token] x",
		"xoxb-" + strings.Repeat("1", 12):          "[redacted Slack token]",
		"password=hunter22 until May":              "password=[redacted password] until May",
		"pwd:correcthorse":                         "pwd:[redacted password]",
		"password: see vault":                      "password: see vault",
		"password=${SECRET}":                       "password=${SECRET}",
		"password: hunter2.":                       "password: [redacted password]",
		"password: see OPS-12":                     "password: see OPS-12",
		"secret: OPS-12, key: PROJ2-4711":          "secret: OPS-12, key: PROJ2-4711",
		"basic authentication, bearer of the news": "basic authentication, bearer of the news",
		"pg://ann:${PASSWORD}@db, http://x:80/a@b": "pg://ann:${PASSWORD}@db, http://x:80/a@b",
		"id " + hex + hex + " is no secret":        "id " + hex + hex + " is no secret",
		"-----BEGIN RSA PRIVATE KEY-----\nMIIE":    "[redacted private key]",
	} {
		if got := RedactSecrets(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if got := RedactSecrets(want); got != want {
			t.Errorf("%q is not stable: %q", want, got)
		}
	}
}

// example is an example in full: written so, no scanner takes the table for a leak.
func (f secretForm) full() string {
	return regexp.MustCompile(`<([hauds]?)([0-9]+)>`).ReplaceAllStringFunc(f.example, func(hole string) string {
		alphabet := map[byte]string{'h': "0a1b2c3d4e5f6789", 'u': "AB2CD3EF4GH5JK6L", 'a': "a1b2c3d4e5f6g7h8", 'd': "1234567890"}[hole[1]]
		if alphabet == "" {
			alphabet = "A1b2C3d4E5f6G7h8"
		}
		n, _ := strconv.Atoi(strings.Trim(hole, "<>haud"))
		return strings.Repeat(alphabet, n/len(alphabet)+1)[:n]
	})
}

// TestEverySecretForm: each example is found as what it is, in plain text, within other
// text and in base64, and nothing of it is left when it is redacted.
func TestEverySecretForm(t *testing.T) {
	t.Parallel()
	kinds := map[string]bool{}
	for _, form := range secretForms() {
		kinds[form.kind] = true
		secret := form.full()
		if !strings.HasPrefix(form.source, "https://") || !strings.HasPrefix(form.kind, "a") && !strings.HasPrefix(form.kind, "credentials") {
			t.Errorf("%s: source %q", form.kind, form.source)
		}
		found := form.find(secret)
		if len(found) != 1 {
			t.Errorf("%s: %q is not found", form.kind, secret)
			continue
		}
		value := secret[found[0][0]:found[0][1]]
		for name, text := range map[string]string{
			"plain": secret, "in a sentence": "see " + secret + " until May",
			"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "base64url": base64.RawURLEncoding.EncodeToString([]byte("x " + secret + " y")),
			"base64 after a path": "blob/" + base64.StdEncoding.EncodeToString([]byte(secret)) + " z",
		} {
			if got := SecretKinds(text); !slices.Contains(got, form.kind) {
				t.Errorf("%s, %s: %q is found as %q", form.kind, name, text, got)
			}
			shown := RedactSecrets(text)
			if strings.Contains(shown, value) || strings.Contains(shown, base64.StdEncoding.EncodeToString([]byte(value))) || !strings.Contains(shown, "[redacted ") {
				t.Errorf("%s, %s: %q is shown as %q", form.kind, name, text, shown)
			}
			if got := SecretKinds(shown); !slices.Contains(got, form.kind) {
				t.Errorf("%s, %s: %q is found as %q", form.kind, name, shown, got)
			}
			if again := RedactSecrets(shown); again != shown {
				t.Errorf("%s: %q is not stable: %q", form.kind, shown, again)
			}
		}
	}
	if len(kinds) < 50 {
		t.Errorf("only %d kinds", len(kinds))
	}
}

func BenchmarkRedactSecrets(b *testing.B) {
	for b.Loop() {
		RedactSecrets("nightly export of the finance tables, OPS-1234")
	}
}
