package collectors

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
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
