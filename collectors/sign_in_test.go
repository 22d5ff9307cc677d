package collectors

import (
	"encoding/base64"
	"net/http"
	"reflect"
	"testing"
)

// notedTrip answers every request, and remembers where they went.
type notedTrip struct{ hosts []string }

func (n *notedTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	n.hosts = append(n.hosts, r.URL.Host)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// TestPlainSignInIsRefused: what the Databricks tools send to obtain a
// credential goes out by https, to this machine, or to a cloud's link-local
// address; a client's secret by plain http goes nowhere.
func TestPlainSignInIsRefused(t *testing.T) {
	t.Parallel()
	for url, sent := range map[string]bool{
		"https://login.example.com/token":       true,
		"http://127.0.0.1:8080/token":           true,
		"http://localhost/token":                true,
		"http://169.254.169.254/metadata":       true,
		"http://login.example.com/token":        false,
		"http://10.0.0.1/token":                 false,
		"http://169.254.169.254.example.com/":   false,
		"http://localhost.example.com/token":    false,
		"ftp://login.example.com/token":         false,
		"http://127.0.0.1@login.example.com/to": false,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		next := &notedTrip{}
		answer, err := signInTransport{next, "patrol/test"}.RoundTrip(request)
		if answer != nil {
			answer.Body.Close()
		}
		if (len(next.hosts) > 0) != sent || (err == nil) != sent {
			t.Errorf("%s: sent to %v, error %v", url, next.hosts, err)
		}
	}
}

// TestLoginPageIsNoAnswer: also where its text is JSON by chance, such as {},
// which would be a list without tokens.
func TestLoginPageIsNoAnswer(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "application/scim+json": true, "text/plain": true, "": true,
		"text/html": false, "text/html; charset=utf-8": false, "application/xml": false, "image/png": false,
	} {
		if got := jsonContent("/api", http.Header{"Content-Type": {kind}}) == nil; got != want {
			t.Errorf("%q: taken for an answer: %v", kind, got)
		}
	}
}

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
