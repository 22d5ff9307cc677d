package collectors

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"patrol/engine"
)

// clientFor is a client without a credential for a handler.
func clientFor(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{RequestRate: 10_000, SpoolDir: t.TempDir(), Now: func() time.Time { return testNow },
		Sleep: func(context.Context, time.Duration) error { return nil }}
	return newClient(o.withDefaults(), "test", base, http.DefaultTransport, &session{})
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

// confHandler answers workspace-conf: known keys, keys that are forbidden, and
// everything else unknown.
func confHandler(values map[string]string, forbidden ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, unknown := map[string]json.RawMessage{}, []string{}
		for key := range strings.SplitSeq(r.URL.Query().Get("keys"), ",") {
			if slices.Contains(forbidden, key) {
				reply(w, 403, `{"error_code":"PERMISSION_DENIED","message":"unauthorized to perform ReadAction on /org_admin_conf/`+key+`"}`)
				return
			}
			value, known := values[key]
			if !known {
				unknown = append(unknown, key)
			}
			answer[key] = json.RawMessage(value)
		}
		if len(unknown) > 0 {
			list, _ := json.Marshal(unknown)
			body, _ := json.Marshal(map[string]string{"error_code": "BAD_REQUEST", "message": "Invalid keys: " + string(list)})
			reply(w, 400, string(body))
			return
		}
		body, _ := json.Marshal(answer)
		reply(w, 200, string(body))
	}
}

func settingsOf(t *testing.T, s engine.Section) engine.Settings {
	t.Helper()
	var settings engine.Settings
	if err := json.Unmarshal(s.Document, &settings); err != nil {
		t.Fatal(err)
	}
	return settings
}

func TestSettingsDropUnknownKeys(t *testing.T) {
	t.Parallel()
	s := readSettings(context.Background(), clientFor(t, confHandler(map[string]string{
		"enableTokensConfig": `"TRue"`, "maxTokenLifetimeDays": `null`, "enableIpAccessLists": `""`})))
	if !s.Coverage.Complete() || s.Coverage.Count != 3 {
		t.Errorf("%+v", s.Coverage)
	}
	settings := settingsOf(t, s)
	if len(settings) != len(settingKeys) || *settings["enableTokensConfig"].Value != "TRue" || settings["maxTokenLifetimeDays"].Value != nil ||
		*settings["enableIpAccessLists"].Value != "" || settings["enableDcs"].Problem != engine.Unsupported {
		t.Errorf("%s", s.Document)
	}
}

func TestSettingsOneUnreadableKeyHidesNoOther(t *testing.T) {
	t.Parallel()
	values := map[string]string{}
	for _, key := range settingKeys {
		values[key] = `"x"`
	}
	values["enableWebTerminal"] = `true`
	s := readSettings(context.Background(), clientFor(t, confHandler(values, "enableDcs")))
	if s.Coverage.Status != engine.Partial || s.Coverage.Reason != reasonKeys || s.Coverage.Count != len(settingKeys)-2 ||
		!strings.HasPrefix(s.Coverage.Detail, "enableDcs, enableWebTerminal: ") {
		t.Errorf("%+v", s.Coverage)
	}
	settings := settingsOf(t, s)
	if settings["enableDcs"].Problem != engine.Denied || settings["enableWebTerminal"].Problem != engine.Failed || *settings["maxTokenLifetimeDays"].Value != "x" {
		t.Errorf("%s", s.Document)
	}
}

func TestSettingsOldMessage(t *testing.T) {
	t.Parallel()
	s := readSettings(context.Background(), clientFor(t, func(w http.ResponseWriter, r *http.Request) {
		keys := strings.Split(r.URL.Query().Get("keys"), ",")
		if slices.Contains(keys, "enable-X-Frame-Options") {
			reply(w, 400, `{"error_code":"BAD_REQUEST","message":"enable-X-Frame-Options is an invalid config key"}`)
			return
		}
		reply(w, 200, `{"`+strings.Join(keys, `":"false","`)+`":"false"}`)
	}))
	if !s.Coverage.Complete() || s.Coverage.Count != len(settingKeys)-1 {
		t.Errorf("%+v", s.Coverage)
	}
}

func TestSettingsMissingKeyIsNotUnset(t *testing.T) {
	t.Parallel()
	s := readSettings(context.Background(), clientFor(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `{}`) }))
	if s.Coverage.Status != engine.Partial || settingsOf(t, s)["enableTokensConfig"].Problem != engine.Failed {
		t.Errorf("%+v", s.Coverage)
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	s := readGrants(context.Background(), clientFor(t, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, `{"object_id":"/authorization/tokens","access_control_list":[
			{"user_name":"b@example.com","all_permissions":[{"permission_level":"CAN_USE","inherited":false}]},
			{"group_name":"admins","display_name":"admins","all_permissions":[{"permission_level":"CAN_MANAGE","inherited":true,"inherited_from_object":["/authorization/"]},{"permission_level":"CAN_USE","inherited":false}]},
			{"service_principal_name":"00000000-0000-0000-0000-000000000001","permission_level":"CAN_USE"}]}`)
	}))
	want := `[{"principal":"admins","kind":"group","level":"CAN_MANAGE","inherited":true,"inherited_from":"/authorization/"},` +
		`{"principal":"admins","kind":"group","level":"CAN_USE","inherited":false},` +
		`{"principal":"00000000-0000-0000-0000-000000000001","kind":"service_principal","level":"CAN_USE","inherited":false},` +
		`{"principal":"b@example.com","kind":"user","level":"CAN_USE","inherited":false}]`
	if !s.Coverage.Complete() || s.Coverage.Count != 4 || string(s.Document) != want {
		t.Errorf("%+v\n%s", s.Coverage, s.Document)
	}
	s = readGrants(context.Background(), clientFor(t, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, `{"access_control_list":[{"user_name":"b@example.com","all_permissions":[{"permission_level":"CAN_NEW"}]}]}`)
	}))
	if s.Coverage.Status != engine.Partial || s.Coverage.Reason != reasonUnknownLevel || s.Coverage.Whole() {
		t.Errorf("a level that nobody knows: %+v", s.Coverage)
	}
	s = readGrants(context.Background(), clientFor(t, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, `{"access_control_list":[{"display_name":"?"},{"user_name":"a","all_permissions":[]}]}`)
	}))
	if s.Coverage.Status != engine.Partial || string(s.Document) != "[]" {
		t.Errorf("%+v %s", s.Coverage, s.Document)
	}
}

// readDirectory reads principals and groups, and judges and joins them.
func readDirectory(t *testing.T, h http.Handler) map[engine.SectionName]engine.Section {
	t.Helper()
	c := clientFor(t, h.ServeHTTP)
	sections := map[engine.SectionName]engine.Section{
		engine.SectionPrincipals: readPrincipals(t.Context(), c), engine.SectionGroups: readGroups(t.Context(), c),
	}
	c.session.judge(sections)
	return sections
}

// scimHandler serves listings from rows, by the habits of a server.
type scimHandler struct {
	rows        map[string][]string
	pageMost    int  // rows per page at most
	ignoreStart bool // always the first page
	total       int  // added to the true total
	noTotal     bool
}

func (h scimHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := strings.TrimPrefix(r.URL.Path, scimPath)
	start, _ := strconv.Atoi(r.URL.Query().Get("startIndex"))
	if h.ignoreStart {
		start = 1
	}
	rows := h.rows[kind]
	from := min(start-1, len(rows))
	to := min(from+h.pageMost, len(rows))
	total := ""
	if !h.noTotal {
		total = fmt.Sprintf(`"totalResults":%d,`, len(rows)+h.total)
	}
	reply(w, 200, fmt.Sprintf(`{%s"startIndex":%d,"Resources":[%s]}`, total, start, strings.Join(rows[from:to], ",")))
}

func users(n int) []string {
	var rows []string
	for i := range n {
		rows = append(rows, fmt.Sprintf(`{"id":"%d","userName":"u%d@example.com","active":true}`, 1000+i, i))
	}
	return rows
}

func TestPrincipalsPaging(t *testing.T) {
	t.Parallel()
	rows := map[string][]string{"Users": users(23)}
	for name, test := range map[string]struct {
		handler scimHandler
		status  engine.CoverageStatus
		reason  string
		count   int
	}{
		"one page":               {scimHandler{rows: rows, pageMost: 100}, engine.Complete, "", 23},
		"short pages":            {scimHandler{rows: rows, pageMost: 5}, engine.Complete, "", 23},
		"short pages, no total":  {scimHandler{rows: rows, pageMost: 5, noTotal: true}, engine.Complete, "", 23},
		"start ignored":          {scimHandler{rows: rows, pageMost: 5, ignoreStart: true}, engine.Implausible, "totals_differ", 0},
		"more announced":         {scimHandler{rows: rows, pageMost: 100, total: 2}, engine.Implausible, "totals_differ", 0},
		"fewer announced":        {scimHandler{rows: rows, pageMost: 100, total: -2}, engine.Implausible, "totals_differ", 0},
		"row without id":         {scimHandler{rows: map[string][]string{"Users": append(users(2), `{"userName":"x"}`)}, pageMost: 100}, engine.Partial, "missing_id", 2},
		"active is text":         {scimHandler{rows: map[string][]string{"Users": {`{"id":"1","userName":"x","active":"yes"}`}}, pageMost: 100}, engine.Partial, "bad_type", 1},
		"one id, two principals": {scimHandler{rows: map[string][]string{"Users": users(1), "ServicePrincipals": {`{"id":"1000","applicationId":"a"}`}}, pageMost: 100}, engine.Partial, "duplicate_id", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := readPrincipals(context.Background(), clientFor(t, test.handler.ServeHTTP))
			if s.Coverage.Status != test.status || s.Coverage.Reason != test.reason || s.Coverage.Count != test.count || len(s.Principals) != test.count {
				t.Errorf("%+v", s.Coverage)
			}
		})
	}
}

func TestPrincipalsAndNestedGroups(t *testing.T) {
	t.Parallel()
	s := readDirectory(t, scimHandler{pageMost: 2, rows: map[string][]string{
		"Users": {
			`{"id":"11","userName":"direct@example.com","displayName":"D","active":true,"groups":[{"value":"1","display":"admins"}]}`,
			`{"id":"12","userName":"nested@example.com","active":false}`,
			`{"id":13,"userName":"circle@example.com"}`,
			`{"id":"14","userName":"none@example.com","active":null,"groups":[{"value":"99","display":"account group"}]}`,
		},
		"ServicePrincipals": {`{"id":"10","applicationId":"00000000-0000-0000-0000-000000000001","displayName":"job","active":true}`},
		"Groups": {
			`{"id":"1","displayName":"admins","members":[{"value":"11"},{"value":"2"}]}`,
			`{"id":"2","displayName":"ops","members":[{"value":"3","$ref":"Groups/3"},{"value":"10"}]}`,
			`{"id":"3","displayName":"oncall","members":[{"value":"12"}]}`,
			`{"id":"4","displayName":"left","members":[{"value":"5"},{"value":"13"}]}`,
			`{"id":"5","displayName":"right","groups":[{"value":"4"}],"members":[{"value":"4"}]}`,
			`{"id":"6","displayName":"empty"}`,
		},
	}})[engine.SectionPrincipals]
	if !s.Coverage.Complete() {
		t.Fatalf("%+v", s.Coverage)
	}
	want := []string{
		"10 service_principal 00000000-0000-0000-0000-000000000001 true true [admins ops]",
		"11 user direct@example.com true true [admins]",
		"12 user nested@example.com false true [admins oncall ops]",
		"13 user circle@example.com ? false [left right]",
		"14 user none@example.com ? false [account group]",
	}
	var got []string
	for _, p := range s.Principals {
		active := "?"
		if p.Active != nil {
			active = fmt.Sprint(*p.Active)
		}
		got = append(got, fmt.Sprint(p.ID, " ", p.Kind, " ", p.Name, " ", active, " ", *p.Admin, " ", p.Groups))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	s := scrubber{secrets: []string{"topsecret"}}
	for _, text := range []string{
		"token dapi0123456789abcdef0123456789abcdef here", "Authorization: Bearer abcdefghijklmnop", "it is topsecret",
		"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln", "authorization=x123",
	} {
		got := s.excerpt(text)
		for _, secret := range []string{"0123456789abcdef", "abcdefghijklmnop", "topsecret", "eyJ", "x123"} {
			if strings.Contains(got, secret) {
				t.Errorf("%q shows %s", got, secret)
			}
		}
	}
	if got := s.excerpt("a\n\x1b[31mb"); got != `a \u{1b}[31mb` {
		t.Errorf("%q", got)
	}
}

func TestErrorDetailHoldsNoCredential(t *testing.T) {
	t.Parallel()
	c := clientFor(t, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 418, `{"message":"you sent dapi0123456789abcdef0123456789abcdef"}`)
	})
	_, p := c.Get(context.Background(), tokensPath, nil, 1<<20)
	if p == nil || strings.Contains(p.Detail+p.Message, "0123456789abcdef") || !strings.Contains(p.Detail, "you sent ***") {
		t.Errorf("%+v", p)
	}
}

func TestAnswerTooLarge(t *testing.T) {
	t.Parallel()
	c := clientFor(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, strings.Repeat(" ", 1000)) })
	if _, p := c.Get(context.Background(), tokensPath, nil, 999); p == nil || p.Reason != reasonBadBody {
		t.Errorf("%v", p)
	}
}

// TestPackedAnswerTooLarge: what counts is the size after unpacking, so that a
// few kilobytes cannot fill memory or disk.
func TestPackedAnswerTooLarge(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	for range 64 {
		if _, err := zip.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	c := clientFor(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("accepts %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(packed.Bytes()) // the reader breaks off
	})
	if _, p := c.Get(context.Background(), tokensPath, nil, 1<<20); p == nil || p.Reason != reasonBadBody {
		t.Errorf("%d bytes that unpack to 64 MiB: %v", packed.Len(), p)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "99999999999": retryAfterCap, "soon": 0, "1.5": 0,
		testNow.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		testNow.Add(-time.Minute).Format(http.TimeFormat): 0,
		testNow.Add(time.Hour).Format(http.TimeFormat):    retryAfterCap,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, testNow); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	most := func() float64 { return 1 }
	f := &Problem{}
	var got []time.Duration
	for n := range 8 {
		got = append(got, pause(f, n, most).Round(time.Second)/time.Second)
	}
	if want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	f.least = 9 * time.Second
	if d := pause(f, 0, func() float64 { return 0 }); d != f.least {
		t.Errorf("%v", d)
	}
}

func TestSecureURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"https://workspace.example.com": true, "http://workspace.example.com": false, "http://127.0.0.1:80": true, "http://localhost:8": true,
		"http://[::1]:1": true, "http://127.0.0.1.example.com": false, "ftp://localhost": false, "http://169.254.169.254": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if secureURL(u) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

func TestIPAccessLists(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{}`:                     `implausible not_a_list`,
		`{"ip_access_lists":[]}`: `complete  []`,
		`{"ip_access_lists":[{"list_id":"2","label":"vpn","list_type":"BLOCK","enabled":false},{"list_id":"1","label":"office","list_type":"ALLOW","enabled":true,"ip_addresses":["192.0.2.0/24","::1"],"address_count":2}]}`: `complete  [{"addresses":["192.0.2.0/24","::1"],"enabled":true,"id":"1","label":"office","type":"ALLOW"},{"addresses":[],"enabled":false,"id":"2","label":"vpn","type":"BLOCK"}]`,
		`{"ip_access_lists":[{"list_type":"ALLOW"}]}`:                                                               `partial missing`,
		`{"ip_access_lists":[{"enabled":true}]}`:                                                                    `partial missing`,
		`{"ip_access_lists":[7]}`:                                                                                   `partial bad_type`,
		`{"ip_access_lists":[{"list_type":"ALLOW","enabled":"yes"}]}`:                                               `partial bad_type`,
		`{"ip_access_lists":[{"list_type":"ALLOW","enabled":true,"ip_addresses":["office"]}]}`:                      `partial bad_type`,
		`{"ip_access_lists":[{"list_type":"ALLOW","enabled":true,"ip_addresses":["192.0.2.0/33"]}]}`:                `partial bad_type`,
		`{"ip_access_lists":[{"list_type":"PERMIT","enabled":true}]}`:                                               `partial bad_type`,
		`{"ip_access_lists":[{"list_type":"ALLOW","enabled":true,"ip_addresses":["::ffff:0.0.0.0/96"]}]}`:           `partial bad_type`,
		`{"ip_access_lists":[{"list_type":"ALLOW","enabled":true,"ip_addresses":["192.0.2.1"],"address_count":2}]}`: `partial contradictory`,
		`{"ip_access_lists":7}`: `implausible not_a_list`,
	} {
		s := readIPAccessLists(context.Background(), clientFor(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, body) }))
		got := fmt.Sprintf("%s %s %s", s.Coverage.Status, s.Coverage.Reason, s.Document)
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", body, got)
		}
	}
}

func TestRestrictWorkspaceAdmins(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"restrict_workspace_admins":{"status":"ALLOW_ALL"},"etag":"e"}`:                                                      `complete  {"disable_gov_tag_creation":false,"status":"ALLOW_ALL"}`,
		`{"restrict_workspace_admins":{"status":"RESTRICT_TOKENS_AND_JOB_RUN_AS","disable_gov_tag_creation":true},"etag":"e"}`: `complete  {"disable_gov_tag_creation":true,"status":"RESTRICT_TOKENS_AND_JOB_RUN_AS"}`,
		`{"restrict_workspace_admins":{"status":"SOMETHING_NEW"}}`:                                                             `failed bad_body`,
		`{"restrict_workspace_admins":{}}`:                                                                                     `failed bad_body`,
		`{}`:                                                                                                                   `failed bad_body`,
	} {
		s := readRestrictWorkspaceAdmins(context.Background(), clientFor(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, body) }))
		if got := fmt.Sprintf("%s %s %s", s.Coverage.Status, s.Coverage.Reason, s.Document); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", body, got)
		}
	}
}

// TestWithoutTheFeature: a call that the workspace does not have is no failure
// of the call.
func TestWithoutTheFeature(t *testing.T) {
	t.Parallel()
	for name, read := range map[string]func(context.Context, *Client) engine.Section{"ip": readIPAccessLists, "restrict": readRestrictWorkspaceAdmins} {
		for _, body := range []string{`{"error_code":"FEATURE_DISABLED"}`, `{"error_code":"ENDPOINT_NOT_FOUND"}`} {
			s := read(context.Background(), clientFor(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 404, body) }))
			if c := s.Coverage; c.Status != engine.Disabled || c.Reason != reasonFeatureDisabled || strings.Contains(c.Hint, "Personal") {
				t.Errorf("%s %s: %+v", name, body, c)
			}
		}
	}
}
