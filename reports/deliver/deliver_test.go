package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

var asOf = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

const hostile = `[click](https://evil.example) *x* <!channel> @all "=1+1` + "\u202e\x1b[31m"

func report() engine.Report {
	finding := engine.Finding{Policy: "PAT-001", Title: "Never expires", Severity: engine.High, Status: engine.Fail, Workspace: "prod", WorkspaceID: "1",
		Resource: engine.ResourceToken, ResourceID: "t1", Owner: hostile, Message: "never expires: " + hostile, Fingerprint: "f1", Since: asOf}
	old, waived := finding, finding
	old.Since, old.Fingerprint, old.ResourceID = asOf.Add(-24*time.Hour), "f2", "t2"
	waived.Status, waived.Fingerprint = engine.Waived, "f3"
	snapshot := engine.Snapshot{ID: 1, Workspace: engine.Workspace{ID: "1", Name: `pr"od` + "\n"}, Digest: "d", Tokens: 2,
		Coverage: map[engine.SectionName]engine.Coverage{engine.SectionTokens: {Status: engine.Complete}, engine.SectionGrants: {Status: engine.Denied}}}
	tally := engine.Tally{engine.Fail: 2, engine.Waived: 1}
	return engine.Report{
		AsOf: asOf, Workspaces: []engine.WorkspaceReport{{Snapshot: snapshot, Counts: tally}},
		Policies: []engine.PolicyReport{{Policy: engine.Policy{ID: "PAT-001", Remediation: "Revoke it."}, Tally: tally}},
		Summary:  engine.Summary{Tokens: 2, Workspaces: 1, Statuses: tally, Severities: map[engine.Severity]engine.Tally{engine.High: tally}},
		Findings: table.Known([]engine.Finding{finding, old, waived}),
	}
}

func newMessage(t *testing.T) Message {
	t.Helper()
	m, err := NewMessage(t.Context(), report(), engine.Info)
	if err != nil {
		t.Fatal(err)
	}
	if m.NewCount != 1 || len(m.New) != 1 || m.New[0].Fingerprint != "f1" || m.Verdict != engine.Incomplete {
		t.Fatalf("%+v", m)
	}
	return m
}

// receiver answers with the codes in turn, the last one again and again.
func receiver(t *testing.T, codes ...int) (address string, got func() []*http.Request, bodies func() []string) {
	t.Helper()
	var requests []*http.Request
	var texts []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		code := codes[min(len(requests), len(codes)-1)]
		requests, texts = append(requests, r), append(texts, string(body))
		if code >= 300 && code < 400 {
			w.Header().Set("Location", "/elsewhere")
		}
		if code == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(code)
		if code == http.StatusOK {
			_, _ = io.WriteString(w, "ok")
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/services/SECRETPATH", func() []*http.Request { return requests }, func() []string { return texts }
}

// TestReceivers: each kind is sent once, in its protocol, and what anybody wrote
// is neither link, mention nor formatting there.
func TestReceivers(t *testing.T) {
	t.Parallel()
	for kind, code := range map[string]int{"slack": 200, "teams": 202, "webhook": 204} {
		address, got, bodies := receiver(t, code)
		r := Receiver{Name: kind, Type: kind, URL: address, Secret: "s3cret"}
		m := newMessage(t)
		if err := errors.Join(r.Check(), r.Send(t.Context(), m)); err != nil || len(got()) != 1 {
			t.Fatalf("%s: %v, %d requests", kind, err, len(got()))
		}
		body := bodies()[0]
		if !json.Valid([]byte(body)) || strings.Contains(body, "\u202e") || strings.Contains(body, "\x1b") {
			t.Errorf("%s: %s", kind, body)
		}
		switch kind {
		case "slack":
			if strings.Contains(body, "mrkdwn") || !strings.Contains(body, `"plain_text"`) {
				t.Errorf("a text is formatted: %s", body)
			}
		case "teams":
			if !strings.Contains(body, `"AdaptiveCard"`) || !strings.Contains(body, `\\[click\\]\\(https`) {
				t.Errorf("a text is formatted: %s", body)
			}
		case "webhook":
			verifier, err := standardwebhooks.NewWebhookRaw([]byte("s3cret"))
			if err != nil || verifier.Verify([]byte(body), got()[0].Header) != nil {
				t.Errorf("the signature is wrong: %v", err)
			}
			var back Message
			if err := json.Unmarshal([]byte(body), &back); err != nil || back.Run != m.Run || back.New[0].Message != m.New[0].Message {
				t.Errorf("%v: %s", err, body)
			}
		}
	}
}

// TestSendAgain: what certainly did not arrive is sent again, redirects are not
// followed, and a message that may have arrived is repeated only to who knows it
// by its id.
func TestSendAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		kind      string
		codes     []int
		requests  int
		fails     bool
		uncertain bool
	}{
		"too many":              {"slack", []int{429, 200}, 2, false, false},
		"refused":               {"slack", []int{403}, 1, true, false},
		"a gateway's error":     {"slack", []int{502, 200}, 1, true, true},
		"silence":               {"teams", []int{0, 202}, 1, true, true},
		"silence, with an id":   {"webhook", []int{0, 202}, 2, false, false},
		"server error, with id": {"webhook", []int{500, 204}, 2, false, false},
		"redirect":              {"webhook", []int{307}, 1, true, false},
		"redirect to a page":    {"slack", []int{302}, 1, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, got, _ := receiver(t, test.codes...)
			err := Receiver{Type: test.kind, URL: address, Secret: "s3cret"}.Send(t.Context(), newMessage(t))
			if (err != nil) != test.fails || errors.Is(err, ErrUncertain) != test.uncertain || len(got()) != test.requests {
				t.Errorf("%d requests, %v", len(got()), err)
			}
			if err != nil && (strings.Contains(err.Error(), "SECRETPATH") || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("the address is told: %v", err)
			}
		})
	}
	err := Receiver{Type: "slack", URL: "http://127.0.0.1:1/SECRETPATH"}.Send(t.Context(), newMessage(t))
	if err == nil || errors.Is(err, ErrUncertain) || strings.Contains(err.Error(), "SECRETPATH") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"https://hooks.slack.com/services/T/B/x": true, "http://127.0.0.1:8080/": true, "http://localhost/": true, "http://[::1]/": true,
		"http://hooks.slack.com/": false, "ftp://x/": false, "hooks.slack.com": false, "": false, "https:///x": false, "https://a b/": false, "http://127.0.0.1.evil.example/": false,
	} {
		if err := (Receiver{URL: address}).Check(); (err == nil) != good {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestMetrics: both parsers of Prometheus read them, and its linter has nothing
// to say.
func TestMetrics(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := Metrics(t.Context(), &b, report(), asOf.Add(-48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	for _, name := range []string{"patrol_findings", "patrol_failed", "patrol_tokens", "patrol_section_complete", "patrol_workspaces", "patrol_verdict", "patrol_audit_timestamp_seconds", "patrol_last_complete_audit_timestamp_seconds"} {
		if families[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	problems, err := promlint.New(bytes.NewReader(b.Bytes())).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	for _, line := range []string{
		`patrol_findings{policy="PAT-001",severity="high",status="fail",workspace="prod",workspace_id="1"} 2.0`,
		`patrol_failed{severity="critical"} 0.0`, `patrol_verdict{verdict="incomplete"} 1.0`, `patrol_section_complete{section="grants",workspace="pr\"od\\u{a}",workspace_id="1"} 0.0`, `{section="tokens",`, "# EOF",
	} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("no %s in\n%s", line, &b)
		}
	}
	b.Reset()
	unread := report()
	unread.Workspaces[0].Snapshot.Coverage[engine.SectionTokens] = engine.Coverage{Status: engine.Denied}
	if err := Metrics(t.Context(), &b, unread, time.Time{}); err != nil || strings.Contains(b.String(), "patrol_tokens{") || strings.Contains(b.String(), "last_complete") {
		t.Errorf("what is not known has a number: %v\n%s", err, &b)
	}
}

func TestTickets(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"default":    DefaultTicket,
		"jira":       `{"fields": {"project": {"key": "SEC"}, "issuetype": {"name": "Task"}, "summary": {{json .Title}}, "description": {{json .Description}}, "labels": [{{json .ID}}]}}`,
		"servicenow": `{"short_description": {{json .Title}}, "description": {{json .Description}}, "correlation_id": {{json .ID}}, "impact": {{if eq .Finding.Severity "critical"}}1{{else}}2{{end}}}`,
	} {
		template, err := ParseTicket(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		dir := filepath.Join(t.TempDir(), "tickets")
		for range 2 {
			if n, _, err := Tickets(t.Context(), dir, report(), template, engine.Info); err != nil || n != 2 {
				t.Fatalf("%s: %d, %v", name, n, err)
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 3 || entries[0].Name() != indexName || entries[1].Name() != "f1.json" {
			t.Fatalf("%s: %v, %v", name, entries, err)
		}
		content, err := os.ReadFile(filepath.Join(dir, "f1.json"))
		if err != nil || !json.Valid(content) || !strings.Contains(string(content), "Revoke it.") {
			t.Errorf("%s: %v\n%s", name, err, content)
		}
	}
	for _, text := range []string{"{{.Missing}}", "{", `{"title": {{.Title}}}`, "{{json .Title"} {
		if _, err := ParseTicket(text); err == nil {
			t.Errorf("%q is a template", text)
		}
	}
	if n, _, err := Tickets(context.Background(), t.TempDir(), report(), must(ParseTicket(DefaultTicket)), engine.Critical); n != 0 || err != nil {
		t.Errorf("%d tickets, %v", n, err)
	}
}

// TestTicketsClose: a ticket goes only where the report shows that its finding is gone.
func TestTicketsClose(t *testing.T) {
	t.Parallel()
	dir, template := t.TempDir(), must(ParseTicket(DefaultTicket))
	whole := func(r engine.Report) engine.Report {
		r.Workspaces[0].Snapshot.Coverage[engine.SectionGrants] = engine.Coverage{Status: engine.Complete}
		return r
	}
	gone := func(r engine.Report) engine.Report { r.Findings = table.Known([]engine.Finding(nil)); return r }
	elsewhere, unasked := whole(gone(report())), whole(gone(report()))
	elsewhere.Workspaces[0].Snapshot.Workspace.ID = "2"
	unasked.Policies[0].Policy.ID = "PAT-002"
	for i, step := range []struct {
		report       engine.Report
		open, closed int
	}{
		{whole(report()), 2, 0}, {gone(report()), 0, 0}, {elsewhere, 0, 0}, {unasked, 0, 0}, {whole(gone(report())), 0, 2}, {whole(report()), 2, 0},
	} {
		if open, closed, err := Tickets(t.Context(), dir, step.report, template, engine.Info); err != nil || open != step.open || closed != step.closed {
			t.Errorf("step %d: %d open, %d closed, %v", i, open, closed, err)
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
