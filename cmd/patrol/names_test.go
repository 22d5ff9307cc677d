package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patrol/collectors/simulator"
	"patrol/engine/enginetest"
)

// TestNoOutputNamesAnybody: under --pseudonymise no name, address or part of one of
// any person of the snapshot stands in any byte of any output, live or imported.
func TestNoOutputNamesAnybody(t *testing.T) {
	enginetest.NotInRace(t)
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	account := simulator.New(simulator.Options{Seed: 3, Workspaces: 1, Tokens: 0, Now: func() time.Time { return at }})
	server := httptest.NewServer(account)
	t.Cleanup(server.Close)
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("databrickscfg", account.ConfigFile(server.URL))
	t.Setenv("DATABRICKS_CONFIG_FILE", "databrickscfg")
	write("names.key", strings.Repeat("0123456789abcdef", 4))
	write("patrol.yaml", "remediation: {remedies: {PAT-001: notify, PAT-004: notify}, limits: {max_steps: 1000, max_percent: 100, max_per_owner: 100, max_recently_used: 1000}}\n")

	secret := []string{"quorbat", "zyxwina", "fjordmund", "kwelpin", "o'brien+dev", "annsmith", "gribnok", "vexmoor"} // parts of all names below
	for i, person := range []simulator.User{
		{Name: "zyxwina.quorbat@example.com", DisplayName: "Zyxwina Quorbat", Active: true},
		{Name: "Kwelpin@Example.com", DisplayName: "Fjordmund, Kwelpin", Active: false},
	} {
		user, err := account.AddUser(person)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 2 {
			token := simulator.Token{Comment: "of " + person.DisplayName + " <" + person.Name + ">", OwnerID: user.ID, CreatedByID: user.ID, CreatedByUsername: person.Name,
				CreationTime: at.AddDate(0, 0, -200).UnixMilli(), ExpiryTime: []int64{-1, at.AddDate(0, 0, 9).UnixMilli()}[n], LastUsedDay: at.AddDate(0, 0, -100-i).UnixMilli()}
			if _, err := account.PutToken("prod-analytics", token); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Somebody whom only the list of tokens names.
	gone := simulator.Token{Comment: "Vexmoor's", OwnerID: 777, CreatedByID: 777, CreatedByUsername: "gribnok.vexmoor@example.com",
		CreationTime: at.AddDate(0, 0, -200).UnixMilli(), ExpiryTime: -1, LastUsedDay: at.AddDate(0, 0, -99).UnixMilli()}
	if _, err := account.PutToken("prod-analytics", gone); err != nil {
		t.Fatal(err)
	}
	const header = "Token ID,Owner,Created by,Created,Expires,Last used,Comment\n"
	write("first.csv", header+"m1,O'Brien+dev@Example.com,O'Brien+dev@Example.com,2025-01-01,Never,2026-08-29,load\n"+
		"m2,zyxwina.quorbat@example.com,gribnok.vexmoor@example.com,2025-01-01,Never,2026-08-29,ask Zyxwina.Quorbat@example.com\nm3,annsmith,annsmith,2025-01-01,2026-12-01,2026-08-29,token of annsmith\n")
	write("second.csv", header+"m1,Kwelpin@example.com,Kwelpin@example.com,2025-01-01,Never,2026-08-29,load\nm3,annsmith,annsmith,2025-01-01,2026-12-01,2026-10-29,annsmith's\n")

	look := func(where string, data []byte) {
		text := bytes.ToLower(data)
		for _, name := range secret {
			for _, spelt := range []string{name, strings.ReplaceAll(name, "'", "&#39;"), strings.ReplaceAll(name, "'", "&apos;"), strings.ReplaceAll(name, "+", "\\u002b")} {
				if i := bytes.Index(text, []byte(spelt)); i >= 0 {
					t.Errorf("%s names %s: …%q…", where, name, data[max(0, i-60):min(len(data), i+60)])
				}
			}
		}
	}
	patrol := func(args ...string) {
		t.Helper()
		args = append(args, "--pseudonymise", "names.key")
		got := runHere(at, args...)
		if got.code == 2 || got.code == 3 || got.code > 4 {
			t.Fatalf("%q ends with %d: %.2000s", args, got.code, got.stderr)
		}
		look(fmt.Sprintf("%q stdout", args), []byte(got.stdout))
		look(fmt.Sprintf("%q stderr", args), []byte(got.stderr))
	}
	for db, sources := range map[string][][]string{
		"live.db": {{"--profile", "prod-analytics"}, {"--profile", "prod-analytics"}}, "import.db": {{"--from", "first.csv"}, {"--from", "second.csv"}},
	} {
		out := strings.TrimSuffix(db, ".db") + "-out"
		if err := os.MkdirAll(out, 0o700); err != nil {
			t.Fatal(err)
		}
		for i, source := range sources {
			if db == "import.db" && i == 1 { // one workspace at two times
				if err := os.Rename("second.csv", "first.csv"); err != nil {
					t.Fatal(err)
				}
				source = []string{"--from", "first.csv"}
			}
			if db == "live.db" && i == 1 {
				if _, err := account.Change(simulator.Change{User: &simulator.UserChange{Name: "zyxwina.quorbat@example.com", Active: new(false)}}); err != nil {
					t.Fatal(err)
				}
			}
			at = at.Add(time.Hour)
			patrol(append([]string{"audit", "-v", "--db", db, "--config", "patrol.yaml", "--format", allFormats(), "--output-dir", filepath.Join(out, fmt.Sprint("audit", i))}, source...)...)
		}
		for _, format := range []string{"table", "csv", "json"} {
			patrol("tokens", "--db", db, "--format", format, "-o", filepath.Join(out, "tokens."+format))
			patrol("snapshots", "diff", "--db", db, "--format", format, "-o", filepath.Join(out, "diff."+format))
			for _, group := range []string{"", "owner", "token"} {
				patrol("findings", "--db", db, "--format", format, "--group", group, "-o", filepath.Join(out, "findings"+group+"."+format))
			}
			patrol("forecast", "--db", db, "--in-use", "0", "--format", format, "-o", filepath.Join(out, "forecast."+format))
		}
		patrol("tokens", "--db", db)
		patrol("findings", "--db", db, "--group", "owner")
		patrol("forecast", "--db", db, "--format", "ics", "-o", filepath.Join(out, "forecast.ics"))
		patrol("report", "--db", db)
		patrol("snapshots", "show", "2", "--db", db)
		patrol("export", "--db", db, "--output-dir", filepath.Join(out, "export"))
		patrol("plan", "--db", db, "--config", "patrol.yaml", "--only", "PAT-001,PAT-004", "-o", filepath.Join(out, "plan.json"), "--format", "xlsx,cli,terraform",
			"--notices", filepath.Join(out, "notices"))
		for _, pattern := range []string{"plan.json", "notices/*"} {
			made, err := filepath.Glob(filepath.Join(out, pattern))
			if err != nil || len(made) == 0 {
				t.Fatalf("no %s of %s: %v", pattern, db, err)
			}
		}
		text, err := os.ReadFile(filepath.Join(out, "plan.json"))
		var plan struct{ Steps []struct{ Action string } }
		if err := errors.Join(err, json.Unmarshal(text, &plan)); err != nil || len(plan.Steps) == 0 {
			t.Fatalf("the plan of %s has %d steps: %v", db, len(plan.Steps), err)
		}
	}
	if err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.Contains(path, "-out") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		look(path, data)
		if filepath.Ext(path) != ".xlsx" {
			return nil
		}
		book, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return err
		}
		for _, part := range book.File {
			file, err := part.Open()
			if err != nil {
				return err
			}
			content, err := io.ReadAll(file)
			if err != nil {
				return err
			}
			look(path+" "+part.Name, content)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
