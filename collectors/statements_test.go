package collectors

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/databricks/databricks-sdk-go/client"
	"github.com/databricks/databricks-sdk-go/config"
	"github.com/databricks/databricks-sdk-go/service/sql"
	"github.com/google/go-cmp/cmp"
)

type sentTo struct{ sent []string }

func (s *sentTo) RoundTrip(r *http.Request) (*http.Response, error) {
	s.sent = append(s.sent, r.Method+" "+r.URL.Path)
	return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
}

// TestOnlyOurQueriesAreSent: the client cannot be brought to send anything that
// changes a workspace, whoever calls it.
func TestOnlyOurQueriesAreSent(t *testing.T) {
	query := func(text string) string {
		body, err := json.Marshal(statement{Statement: text, WarehouseID: "w", Parameters: []parameter{{"days", "30", "INT"}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for _, test := range []struct {
		method, path, body string
		allowed            bool
	}{
		{"GET", "/api/2.0/token-management/tokens", "", true},
		{"POST", statementsPath, query(usageTokensSQL), true},
		{"POST", statementsPath, query(usageChangesSQL), true},
		{"POST", statementsPath, query("DROP TABLE t"), false},
		{"POST", statementsPath, query(usageTokensSQL + "; DROP TABLE t"), false},
		{"POST", statementsPath, strings.Replace(query(usageTokensSQL), "{", `{"catalog":"c",`, 1), false},
		{"POST", statementsPath, query(usageTokensSQL) + query("DROP TABLE t"), false},
		{"POST", statementsPath + "/1/cancel", query(usageTokensSQL), false},
		{"POST", statementsPath + "/01f0-1/cancel", "", true},
		{"POST", statementsPath + "/cancel", "", false},
		{"POST", statementsPath + "/1/2/cancel", "", false},
		{"POST", "/api/2.0/jobs/runs/1/cancel", "", false},
		{"POST", "/api/2.0/token/delete", query(usageTokensSQL), false},
		{"PUT", statementsPath, query(usageTokensSQL), false},
		{"DELETE", "/api/2.0/token-management/tokens/a", "", false},
		{"PATCH", "/api/2.0/workspace-conf", "{}", false},
	} {
		next := &sentTo{}
		request, err := http.NewRequestWithContext(t.Context(), test.method, "http://127.0.0.1"+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := readOnly{next}.RoundTrip(request)
		if err == nil {
			answer.Body.Close()
		}
		if (len(next.sent) == 1) != test.allowed || (err == nil) != test.allowed {
			t.Errorf("%s %s %s: sent %v, %v", test.method, test.path, test.body, next.sent, err)
		}
	}
}

// TestQueriesRead: no word of a query changes anything.
func TestQueriesRead(t *testing.T) {
	for _, query := range Queries() {
		for _, word := range strings.Fields(strings.ToUpper(query.SQL)) {
			switch strings.Trim(word, "(),;") {
			case "INSERT", "UPDATE", "DELETE", "MERGE", "CREATE", "DROP", "ALTER", "GRANT", "REVOKE", "COPY", "TRUNCATE", "SET", "CALL;", "USE":
				t.Errorf("%s says %s", query.Name, word)
			}
		}
		if strings.Contains(query.SQL, ";") {
			t.Errorf("%s is more than one statement", query.Name)
		}
	}
}

// TestStatementsAreAsTheSDKSendsThem: the vendor's own library asks for the same
// result with the same request.
func TestStatementsAreAsTheSDKSendsThem(t *testing.T) {
	t.Parallel()
	var bodies []map[string]any
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == metadataPath {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		var body map[string]any
		text, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != statementsPath || json.Unmarshal(text, &body) != nil {
			t.Errorf("%s %s %s", r.Method, r.URL.Path, text)
		}
		bodies = append(bodies, body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"statement_id":"1","status":{"state":"FAILED"}}`))
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	ours := newClient(Options{Usage: &Usage{Warehouse: "w"}}.withDefaults(), "test", base, http.DefaultTransport, &session{})
	if _, problem := ours.query(t.Context(), usageChanges(), []parameter{{"days", "30", "INT"}, {"workspace_id", "7", "STRING"}}, func(record) error { return nil }); problem == nil || problem.Reason != reasonQueryFailed {
		t.Fatal(problem)
	}
	api, err := client.New(&config.Config{Host: server.URL, Token: "none", AuthType: "pat"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sql.NewStatementExecution(api).ExecuteStatement(t.Context(), sql.ExecuteStatementRequest{
		Statement: usageChangesSQL, WarehouseId: "w", WaitTimeout: "30s", OnWaitTimeout: sql.ExecuteStatementRequestOnWaitTimeoutContinue,
		Disposition: sql.DispositionInline, Format: sql.FormatJsonArray,
		Parameters: []sql.StatementParameterListItem{{Name: "days", Value: "30", Type: "INT"}, {Name: "workspace_id", Value: "7", Type: "STRING"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(bodies) != 2 || cmp.Diff(bodies[0], bodies[1]) != "" {
		t.Errorf("%d requests: %s", len(bodies), cmp.Diff(bodies[0], bodies[len(bodies)-1]))
	}
}
