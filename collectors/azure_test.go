package collectors

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/databricks/databricks-sdk-go/config"

	"patrol/collectors/simulator"
	"patrol/engine"
)

// azureAt is a client of the cloud's own Resource Manager.
func azureAt(t *testing.T, name string) *azureClient {
	t.Helper()
	account := AccountTarget{Azure: &AzureAccount{Environment: name, Subscriptions: []string{"00000000-0000-4000-8000-000000000001"}}}
	t.Setenv("DATABRICKS_CONFIG_FILE", t.TempDir()+"/none")
	c, problem := account.signInAzure(t.Context(), Options{}.withDefaults(), http.DefaultTransport)
	if problem != nil {
		t.Fatal(problem)
	}
	return c
}

// TestAzureAddresses: each cloud has its own services and its own domain, and
// an address outside of that domain is nobody's to sign in to.
func TestAzureAddresses(t *testing.T) {
	for _, test := range []struct{ cloud, manager, address, host string }{
		{"", "https://management.azure.com", "adb-1234567890123456.7.azuredatabricks.net", "https://adb-1234567890123456.7.azuredatabricks.net"},
		{"public", "https://management.azure.com", "ADB-1.19.AzureDatabricks.net", "https://adb-1.19.azuredatabricks.net"},
		{"china", "https://management.chinacloudapi.cn", "adb-1.7.databricks.azure.cn", "https://adb-1.7.databricks.azure.cn"},
		{"usgovernment", "https://management.usgovcloudapi.net", "adb-1.7.databricks.azure.us", "https://adb-1.7.databricks.azure.us"},
		{"usgovernment", "https://management.usgovcloudapi.net", "adb-1.7.azuredatabricks.net", ""},
		{"public", "https://management.azure.com", "adb-1.7.databricks.azure.cn", ""},
		{"public", "https://management.azure.com", "adb-1.7.evil.azuredatabricks.net", ""},
		{"public", "https://management.azure.com", "adb-1.7.azuredatabricks.net.example.com", ""},
		{"public", "https://management.azure.com", "example.com/adb-1.7.azuredatabricks.net", ""},
		{"public", "https://management.azure.com", "adb-1.7.azuredatabricks.net:8443", ""},
		{"public", "https://management.azure.com", "user@adb-1.7.azuredatabricks.net", ""},
		{"public", "https://management.azure.com", "accounts.azuredatabricks.net", ""},
		{"public", "https://management.azure.com", "127.0.0.1:8080", ""},
		{"public", "https://management.azure.com", "management.azure.com", ""},
		{"public", "https://management.azure.com", "", ""},
	} {
		c := azureAt(t, test.cloud)
		host, routed := c.workspaceURL(test.address)
		if c.base.String() != test.manager || host != test.host || routed {
			t.Errorf("%q by %s: %q, %v; want %q by %s", test.address, c.base, host, routed, test.host, test.manager)
		}
	}
}

func TestAzureFollowsItsOwnLinksOnly(t *testing.T) {
	c := azureAt(t, "public")
	for link, want := range map[string]bool{
		"https://management.azure.com/subscriptions/x?api-version=1&$skiptoken=2": true,
		"https://management.azure.com:443/subscriptions/x?$skiptoken=2":           true,
		"https://MANAGEMENT.azure.com/subscriptions/x":                            true,
		"https://management.azure.com:8443/subscriptions/x":                       false,
		"http://management.azure.com/subscriptions/x":                             false,
		"https://management.azure.com@example.com/subscriptions/x":                false,
		"https://user:word@management.azure.com/subscriptions/x":                  false,
		"https://example.com/subscriptions/x":                                     false,
		"//example.com/subscriptions/x":                                           false,
		"/subscriptions/x":                                                        false,
		"\x7f":                                                                    false,
	} {
		path, query, ok := c.follow(link)
		if ok != want || ok && (path != "/subscriptions/x" || strings.Contains(link, "skip") && query.Get("$skiptoken") != "2") {
			t.Errorf("%s: %s %v %v, want %v", link, path, query, ok, want)
		}
	}
}

// azureFrom discovers from a server that signs in as the simulator does and
// answers the list itself.
func azureFrom(t *testing.T, list http.HandlerFunc) (Account, error) {
	t.Helper()
	account := simulator.New(simulator.Options{Seed: 1})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, azureProvider) {
			w.Header().Set("Content-Type", "application/json")
			list(w, r)
			return
		}
		account.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	id, secret := account.Credentials()
	t.Setenv("DATABRICKS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("ARM_CLIENT_ID", id)
	t.Setenv("ARM_CLIENT_SECRET", secret)
	target := AccountTarget{Azure: &AzureAccount{Subscriptions: []string{account.Subscription()}, Tenant: account.Tenant(), Endpoint: server.URL}}
	return Discover(t.Context(), target, Options{})
}

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.ReplaceAll(text, "HOST", r.Host)) // the reader tells
	}
}

// TestAzureRefuses: a list that is not understood whole is none.
func TestAzureRefuses(t *testing.T) {
	const row = `{"id": "/x/%", "name": "n", "properties": {"provisioningState": "Succeeded", "workspaceId": "%", "workspaceUrl": "HOST"}}`
	first := strings.ReplaceAll(row, "%", "1")
	for name, test := range map[string]struct{ body, want string }{
		"bare":         {`[]`, "cannot unmarshal array"},
		"no value":     {`{"values": []}`, "the answer has no value"},
		"cut":          {`{"value": [` + first, "breaks off"},
		"no object":    {`{"value": [7]}`, "page 1, row 1: is no object"},
		"bare row":     {`{"value": [{"id": "/x/1", "name": "n"}]}`, "row 1: has no properties"},
		"no name":      {`{"value": [` + strings.Replace(first, `"n"`, `""`, 1) + `]}`, "lacks id, name or provisioningState"},
		"number":       {`{"value": [` + strings.Replace(first, `"workspaceId": "1"`, `"workspaceId": "one"`, 1) + `]}`, "workspaceId is no number"},
		"tags":         {`{"value": [` + strings.Replace(first, `"name"`, `"tags": {"a": 1}, "name"`, 1) + `]}`, "tags are no texts"},
		"twice":        {`{"value": [` + first + "," + first + `]}`, "lists workspace 1 twice"},
		"elsewhere":    {`{"value": [` + first + `], "nextLink": "http://127.0.0.2:1/subscriptions/x"}`, "the next page is not on"},
		"endless":      {`{"value": [], "nextLink": "http://HOST/subscriptions/x` + azureProvider + `?$skiptoken=1"}`, "the pages do not end"},
		"link of ints": {`{"value": [], "nextLink": 1}`, "nextLink"},
	} {
		_, err := azureFrom(t, body(test.body))
		known, ok := engine.AsError(err)
		if !ok || known.Class != engine.ClassIncomplete || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want an incomplete one that says %q", name, err, test.want)
		}
	}
	_, err := azureFrom(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://example.com/", http.StatusFound)
	})
	if err == nil || !strings.Contains(err.Error(), "status 302 to example.com") {
		t.Errorf("redirect: %v", err)
	}
}

// TestAzureNamesWhatItCannotAsk: nothing that is listed is dropped.
func TestAzureNamesWhatItCannotAsk(t *testing.T) {
	account, err := azureFrom(t, body(`{"value": [
		{"id": "/Subscriptions/s/new", "name": "new", "properties": {"provisioningState": "Accepted", "workspaceId": null}},
		{"id": "/subscriptions/s/odd", "name": "odd", "properties": {"provisioningState": "Succeeded", "workspaceId": "9007199254740993", "workspaceUrl": "example.com"}},
		{"id": "/subscriptions/s/zero", "name": "zero", "properties": {"provisioningState": "Succeeded", "workspaceId": "0", "workspaceUrl": "HOST"}},
		{"id": "/subscriptions/s/here", "name": "here", "properties": {"provisioningState": "Succeeded", "workspaceId": "7", "workspaceUrl": "HOST"}},
		{"id": "/subscriptions/s/busy", "name": "busy", "properties": {"provisioningState": "Updating", "workspaceId": "8", "workspaceUrl": "HOST"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, w := range account.Workspaces {
		told[w.ID] = w.Target(AccountTarget{}).Unreadable
	}
	want := map[string]string{
		"/subscriptions/s/new":  "Azure lists it as Accepted",
		"/subscriptions/s/zero": "Azure does not tell a usable address",
		"9007199254740993":      "Azure does not tell a usable address",
		"7":                     "",
		"8":                     "Azure lists it as Updating",
	}
	for id, why := range want {
		if got, listed := told[id]; !listed || got != why {
			t.Errorf("%s: %q %v, want %q", id, got, listed, why)
		}
	}
	if len(told) != len(want) {
		t.Errorf("listed %v", told)
	}
}

// fakeRoundTrip answers in place of the network.
type fakeRoundTrip func(*http.Request) (*http.Response, error)

func (f fakeRoundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answerJSON(r *http.Request, text string) *http.Response {
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(text)),
	}
}

// signsAs is the header that a request to Resource Manager bears.
func signsAs(t *testing.T, cloud string, transport http.RoundTripper) (string, *Problem) {
	t.Helper()
	account := AccountTarget{Azure: &AzureAccount{Environment: cloud, Tenant: "contoso.example.com"}}
	c, problem := account.signInAzure(t.Context(), Options{SignInTimeout: 10 * time.Second}.withDefaults(), transport)
	if problem != nil {
		return "", problem
	}
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{}, Header: http.Header{}}
	problem = c.sign(context.Background(), r)
	return r.Header.Get("Authorization"), problem
}

// TestAzureManagedIdentity: the machine's identity is asked of the machine, for
// a token that is good for Resource Manager.
func TestAzureManagedIdentity(t *testing.T) {
	t.Setenv("DATABRICKS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("ARM_USE_MSI", "true")
	t.Setenv("ARM_CLIENT_ID", "00000000-0000-4000-8000-00000000000c")
	got, problem := signsAs(t, "china", fakeRoundTrip(func(r *http.Request) (*http.Response, error) {
		q := r.URL.Query()
		if r.URL.Host != "169.254.169.254" || r.Header.Get("Metadata") != "true" ||
			q.Get("resource") != "https://management.chinacloudapi.cn/" || q.Get("client_id") != "00000000-0000-4000-8000-00000000000c" {
			t.Errorf("asked %s %v", r.URL, r.Header)
		}
		return answerJSON(r, `{"token_type": "Bearer", "access_token": "of-the-machine", "expires_on": "4102444800"}`), nil
	}))
	if problem != nil || got != "Bearer of-the-machine" {
		t.Errorf("signs as %q, %v", got, problem)
	}
}

func TestAzureClientSecret(t *testing.T) {
	t.Setenv("DATABRICKS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("ARM_CLIENT_ID", "client")
	t.Setenv("ARM_CLIENT_SECRET", "a-long-secret")
	got, problem := signsAs(t, "usgovernment", fakeRoundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.String() != "https://login.microsoftonline.us/contoso.example.com/oauth2/token" {
			t.Errorf("asked %s", r.URL)
		}
		if err := r.ParseForm(); err != nil || r.PostForm.Get("resource") != "https://management.usgovcloudapi.net/" || r.PostForm.Get("client_secret") != "a-long-secret" {
			t.Errorf("form %v, %v", r.PostForm, err)
		}
		return answerJSON(r, `{"token_type": "Bearer", "access_token": "of-the-client", "expires_in": "3599"}`), nil
	}))
	if problem != nil || got != "Bearer of-the-client" {
		t.Errorf("signs as %q, %v", got, problem)
	}
	_, problem = signsAs(t, "public", fakeRoundTrip(func(r *http.Request) (*http.Response, error) {
		answer := answerJSON(r, "")
		answer.StatusCode, answer.Header = http.StatusTemporaryRedirect, http.Header{"Location": {"https://example.com/"}}
		return answer, nil
	}))
	if problem == nil || !strings.Contains(problem.Detail, "redirect refused") || strings.Contains(problem.Detail, "a-long-secret") {
		t.Errorf("redirect: %v", problem)
	}
}

// TestAzureCLI runs a program of that name that is not Azure's.
func TestAzureCLI(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the stand-in is a shell script")
	}
	bin := t.TempDir()
	script := `#!/bin/sh
case "$*" in
"account show --output json") echo '{"user": {"name": "alice@example.com", "type": "user"}}' ;;
"account get-access-token --resource https://management.azure.com/ --output json --tenant contoso.example.com")
	echo '{"accessToken": "of-the-shell", "tokenType": "Bearer", "expiresOn": "2100-01-01 00:00:00.000000"}' ;;
*) exit 1 ;;
esac
`
	if err := os.WriteFile(filepath.Join(bin, "az"), []byte(script), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("DATABRICKS_CONFIG_FILE", t.TempDir()+"/none")
	got, problem := signsAs(t, "public", http.DefaultTransport)
	if problem != nil || got != "Bearer of-the-shell" {
		t.Errorf("signs as %q, %v", got, problem)
	}
	if _, problem = signsAs(t, "china", http.DefaultTransport); problem == nil || !strings.Contains(problem.Hint, "az login") {
		t.Errorf("problem %+v, want one that says what to do", problem)
	}
}

// TestAzureWorkspacesSignInAlike: whatever else the environment offers, a
// workspace is signed in to as its list was, and nobody is made its admin.
func TestAzureWorkspacesSignInAlike(t *testing.T) {
	t.Setenv("DATABRICKS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("DATABRICKS_TOKEN", "x-of-another-way")
	t.Setenv("DATABRICKS_HOST", "https://example.cloud.databricks.com")
	t.Setenv("DATABRICKS_AZURE_RESOURCE_ID", "/subscriptions/s/resourceGroups/g/providers/Microsoft.Databricks/workspaces/w")
	t.Setenv("ARM_USE_MSI", "true")
	w := AccountWorkspace{ID: "1", Status: succeeded, Host: "https://adb-1.7.azuredatabricks.net", azure: azureAt(t, "public").how}
	target := w.Target(AccountTarget{})
	cfg := &config.Config{Host: target.knownHost(), Loaders: loaders(target)}
	cfg.HostMetadataResolver = func(context.Context, string) (*config.HostMetadata, error) { return nil, nil }
	if err := cfg.EnsureResolved(); err != nil {
		t.Fatal(err)
	}
	if cfg.Host != w.Host || cfg.AuthType != azureMSI || !cfg.AzureUseMSI || cfg.AzureResourceID != "" || !cfg.IsAzure() {
		t.Errorf("host %s, auth type %s, resource %q", cfg.Host, cfg.AuthType, cfg.AzureResourceID)
	}
}

func TestAzureEndpointIsLoopback(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://localhost:8080/": true, "http://[::1]:80": true,
		"https://127.0.0.1:8080": false, "http://example.com": false, "http://127.0.0.1.example.com": false,
		"http://u@127.0.0.1": false, "http://127.0.0.1/x": false, "http://127.0.0.1?x=1": false, "127.0.0.1:80": false, "": false,
	} {
		if got := AzureEndpoint(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// FuzzAzureWorkspace: whatever a row holds, it is refused, or it is a workspace
// with an id and a name whose host is one of the cloud's own.
func FuzzAzureWorkspace(f *testing.F) {
	for _, seed := range []string{
		`{"id": "/x", "name": "n", "tags": {"a": "b"}, "properties": {"provisioningState": "Succeeded", "workspaceId": "1", "workspaceUrl": "adb-1.7.azuredatabricks.net"}}`,
		`{"id": "/x", "name": "n", "properties": {"provisioningState": "Failed", "workspaceId": null, "workspaceUrl": "adb-1.7.azuredatabricks.net@example.com"}}`,
		`{"id": 1}`, `{}`, `[]`, `{"properties": "x"}`, "",
	} {
		f.Add([]byte(seed))
	}
	c := &azureClient{Client: &Client{base: &url.URL{Scheme: "https", Host: "management.azure.com"}}, zone: ".azuredatabricks.net", how: &azureSignIn{}}
	own := regexp.MustCompile(`^https://adb-[0-9]+\.[0-9]+\.azuredatabricks\.net$`)
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return // what comes here was decoded
		}
		w, wrong := c.workspace(text)
		switch {
		case wrong != "":
		case w.ID == "" || w.Name == "" || w.Routed || w.azure == nil:
			t.Fatalf("%+v", w)
		case w.Host != "" && !own.MatchString(w.Host):
			t.Fatalf("leads to %s", w.Host)
		case (w.Host == "" || !w.Running()) != (w.Target(AccountTarget{}).Unreadable != ""):
			t.Fatalf("%+v: %q", w, w.Target(AccountTarget{}).Unreadable)
		}
	})
}
