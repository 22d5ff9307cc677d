package collectors

import (
	"encoding/base64"
	"reflect"
	"testing"
)

func TestScopesOfACredential(t *testing.T) {
	t.Parallel()
	jwt := func(claims string) string {
		return "Bearer e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
	}
	for name, test := range map[string]struct {
		auth, header string
		want         []string
	}{
		"a token":                {"pat", "Bearer dapi", nil},
		"OAuth":                  {"oauth-m2m", jwt(`{"scope":"scim:read  authentication:read"}`), []string{"authentication:read", "scim:read"}},
		"without the claim":      {"oauth-m2m", jwt(`{}`), nil},
		"another type":           {"oauth-m2m", jwt(`{"scope":7}`), nil},
		"no JWT":                 {"oauth-m2m", "Bearer opaque", nil},
		"no base64":              {"oauth-m2m", "Bearer a.%.c", nil},
		"of Entra":               {"azure-cli", jwt(`{"scp":"user_impersonation"}`), []string{"all-apis"}},
		"user name and password": {"basic", "Basic eA==", []string{"all-apis"}},
	} {
		if got := scopesOf(test.auth, test.header); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
