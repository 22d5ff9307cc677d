package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/eval"
	"patrol/engine/policy"
	"patrol/policies"
)

// recorded is where the answers of a small workspace lie.
func recorded(name string) string { return filepath.Join("..", "..", "testdata", "recorded", name) }

// recordedWorkspace serves the answers as of a day; without leaves tokens out,
// by the beginning of their id, and changed replaces the members of answers, by
// their path.
func recordedWorkspace(t *testing.T, at time.Time, without string, changed map[string]map[string]any) *httptest.Server {
	t.Helper()
	text, err := os.ReadFile(recorded("workspace.json"))
	if err != nil {
		t.Fatal(err)
	}
	var answers map[string]json.RawMessage
	if err := json.Unmarshal(text, &answers); err != nil {
		t.Fatal(err)
	}
	answers[recordedTokens] = withoutTokens(t, answers[recordedTokens], without)
	for path, members := range changed {
		answers[path] = withMembers(t, answers[path], members)
	}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", at.UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Databricks-Org-Id", "6543210987654321")
		answer, known := answers[r.URL.Path]
		switch { // on a day without tokens one signs in by OAuth
		case r.URL.Path == "/oidc/.well-known/oauth-authorization-server":
			answer, known = engine.CompactJSON(map[string]string{"token_endpoint": "http://" + r.Host + "/oidc/v1/token"}), true
		case r.URL.Path == "/oidc/v1/token":
			answer, known = json.RawMessage(`{"access_token": "of-the-story", "token_type": "Bearer", "expires_in": 3600}`), true
		case r.Method != http.MethodGet:
			known = false
		}
		if !known {
			w.WriteHeader(http.StatusNotFound)
			answer = json.RawMessage(`{"error_code":"ENDPOINT_NOT_FOUND"}`)
		}
		_, _ = w.Write(answer)
	}))
}

const recordedTokens = "/api/2.0/token-management/tokens"

func withoutTokens(t *testing.T, list json.RawMessage, prefix string) json.RawMessage {
	t.Helper()
	var answer struct {
		Tokens []map[string]any `json:"token_infos"`
	}
	decoder := json.NewDecoder(bytes.NewReader(list))
	decoder.UseNumber() // ids pass 2^53
	if err := decoder.Decode(&answer); err != nil {
		t.Fatal(err)
	}
	answer.Tokens = slices.DeleteFunc(answer.Tokens, func(token map[string]any) bool {
		return prefix != "" && strings.HasPrefix(token["token_id"].(string), prefix)
	})
	text, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func withMembers(t *testing.T, answer json.RawMessage, members map[string]any) json.RawMessage {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(answer, &object); err != nil {
		t.Fatal(err)
	}
	maps.Copy(object, members)
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// stricter is how the recorded workspace was the day before: no tokens, a lower
// limit, and but one besides admins who might make any.
func stricter() map[string]map[string]any {
	return map[string]map[string]any{
		"/api/2.0/workspace-conf": {"enableTokensConfig": "false", "maxTokenLifetimeDays": "7"},
		"/api/2.0/permissions/authorization/tokens": {"access_control_list": []any{map[string]any{"group_name": "admins", "all_permissions": []any{map[string]any{"permission_level": "CAN_MANAGE"}}},
			map[string]any{"user_name": "ann@example.com", "all_permissions": []any{map[string]any{"permission_level": "CAN_USE"}}}}},
	}
}

const (
	byToken = "token = of-the-story"
	byOAuth = "client_id = 5d3f0d36-6a37-4b9c-9d0b-0f6f0a6f4b11\nclient_secret = of-the-story"
)

// runPatrol runs a command in this process, signed in to a server.
func runPatrol(t *testing.T, server *httptest.Server, credential string, at time.Time, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	profiles := filepath.Join(t.TempDir(), "databrickscfg")
	if err := os.WriteFile(profiles, []byte("[recorded]\nhost = "+server.URL+"\n"+credential+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DATABRICKS_CONFIG_FILE", profiles)
	got := runHere(at, args...)
	return got.code, got.stdout, got.stderr
}

// packTally is what one policy came to.
type packTally struct {
	ID                         string
	Pass, Fail, Unknown, Error int
	NotApplicable              int `json:"not_applicable"`
}

// packReport is what the story reads of an audit.json.
type packReport struct {
	Policies []packTally
	Results  []struct {
		Policy, Status, Message string
		ResourceID              string `json:"resource_id"`
	}
}

// TestPack is the story of every policy: a small recorded workspace is read as
// it was yesterday and today, and each policy finds what it is about.
func TestPack(t *testing.T) {
	enginetest.NotInRace(t)
	today := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	db, config := filepath.Join(dir, "patrol.db"), recorded("patrol.yaml")
	yesterday := recordedWorkspace(t, today.AddDate(0, 0, -1), "0026", stricter())
	defer yesterday.Close()
	if code, _, stderr := runPatrol(t, yesterday, byOAuth, today, "collect", "--config", config, "--db", db); code != 0 {
		t.Fatalf("collect ends with %d: %s", code, stderr)
	}
	now := recordedWorkspace(t, today, "", nil)
	defer now.Close()
	args := []string{"audit", "--config", config, "--db", db, "--audit-log", recorded("audit-log.csv"), "--token-report", recorded("token-report.csv"),
		"--output-dir", dir, "--exclude", "PAT-027"}
	code, stdout, stderr := runPatrol(t, now, byToken, today, append(args, "--format", allFormats())...)
	if code != 1 {
		t.Fatalf("audit ends with %d: %s%s", code, stdout, stderr)
	}
	report := readPackReport(t, filepath.Join(dir, "audit.json"))
	checkFindings(t, report)
	checkEachPolicy(t, report)
	said := stdout + stderr
	for _, args := range [][]string{
		{"tokens"}, {"tokens", "--format", "json"}, {"tokens", "--format", "csv"},
		{"policies", "show", "PAT-021", "--explain", "0021"}, {"policies", "show", "PAT-023", "--explain", "002301"},
		{"plan", "-o", filepath.Join(dir, "plan.json")}, {"show", filepath.Join(dir, "plan.json")}, {"snapshots", "show", "2"},
	} {
		code, stdout, stderr := runPatrol(t, now, byToken, today, append(args, "--config", config, "--db", db)...)
		if code != 0 {
			t.Errorf("%v ends with %d: %s", args, code, stderr)
		}
		said += stdout + stderr
	}
	checkNoSecret(t, dir, said)
}

func allFormats() string { return strings.Join(formatNames(), ",") }

func readPackReport(t *testing.T, path string) packReport {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var report packReport
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	return report
}

// checkFindings compares policy → resource → message with the golden file.
func checkFindings(t *testing.T, report packReport) {
	t.Helper()
	found := map[string]map[string]string{}
	for _, r := range report.Results {
		if r.Status != string(engine.Fail) {
			t.Errorf("%s on %s: %s %s", r.Policy, r.ResourceID, r.Status, r.Message)
		}
		if found[r.Policy] == nil {
			found[r.Policy] = map[string]string{}
		}
		id := r.ResourceID
		if len(id) == 64 {
			id = id[:6] // the rest is zeros
		}
		found[r.Policy][id] = r.Message
	}
	got, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	enginetest.Golden(t, recorded("findings.json"), append(got, '\n'))
}

// checkEachPolicy holds the recorded workspace to having a case for every
// policy, those of the future included.
func checkEachPolicy(t *testing.T, report packReport) {
	t.Helper()
	set, err := eval.Load(t.Context(), policy.Pack{Name: "built-in", FS: policies.FS})
	if err != nil {
		t.Fatal(err)
	}
	// Those that rest on usage, or on lists of the account, have the simulated one: usage.txtar, migrate.txtar, sign_in_ways.txtar.
	elsewhere := []string{"PAT-027", "PAT-028", "WS-013", "WS-014", "WS-015", "WS-016", "WS-017", "WS-018"}
	for _, p := range set.Policies() {
		if slices.Contains(elsewhere, p.ID) {
			continue
		}
		i := slices.IndexFunc(report.Policies, func(r packTally) bool { return r.ID == p.ID })
		if i < 0 {
			t.Errorf("%s was not run", p.ID)
			continue
		}
		r := report.Policies[i]
		if r.Fail == 0 || r.Unknown+r.Error > 0 {
			t.Errorf("%s: %+v: the recorded workspace has no case for it, or something that it cannot judge", p.ID, r)
		}
		if p.Resource != engine.ResourceWorkspace && r.Pass+r.NotApplicable == 0 {
			t.Errorf("%s fails everything", p.ID)
		}
	}
}

// checkNoSecret: the kind of a secret in a comment is told, its text nowhere.
func checkNoSecret(t *testing.T, dir, said string) {
	t.Helper()
	const secret = "correct-horse"
	texts := map[string][]byte{"terminal": []byte(said)}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if filepath.Base(file) == "patrol.db" || strings.HasPrefix(filepath.Base(file), "patrol.db-") {
			continue // keeps what the workspace said, so that policies can judge it again
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".xlsx") {
			text = unzipped(t, text)
		}
		texts[filepath.Base(file)] = text
	}
	if len(texts) < len(formatNames())+1 {
		t.Errorf("%d texts of %d formats", len(texts), len(formatNames()))
	}
	id := "0021" + strings.Repeat("0", 60)
	for name, text := range texts {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s tells the secret", name)
		}
		if name == "audit.json" && !bytes.Contains(text, []byte(id)) {
			t.Errorf("%s does not tell the id", name)
		}
	}
}

func unzipped(t *testing.T, archive []byte) []byte {
	t.Helper()
	reader, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, file := range reader.File {
		part, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(fmt.Errorf("%s: %w", file.Name, err))
		}
		all = append(all, text...)
	}
	return all
}
