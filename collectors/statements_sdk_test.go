package collectors

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/databricks/databricks-sdk-go/client"
	"github.com/databricks/databricks-sdk-go/config"
	"github.com/databricks/databricks-sdk-go/service/sql"
	"github.com/google/go-cmp/cmp"
)

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
