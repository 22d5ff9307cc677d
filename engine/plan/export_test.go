package plan_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/plan"
	"patrol/engine/remedy"
)

// hostile is a plan in which every foreign text tries to act.
func hostile(t *testing.T) engine.Plan {
	const evil = "x'; touch OWNED; $(touch OWNED) `touch OWNED` ${path.module} %{if true}\ntouch OWNED\n\"\\"
	e := newEstate()
	e.fill("1", 20)
	e.workspaces[0].Snapshot.Workspace.Name = evil
	e.workspaces[0].Grants = append(e.workspaces[0].Grants, engine.Grant{Principal: evil, Kind: "user", Level: "CAN_USE"})
	e.token("1", "t"+evil, "11", 120, func(s *engine.Subject) { s.Owner.Name = evil })
	e.token("1", "n", "12", 20, scoped("sql", "authentication"))
	e.token("1", "c", "13", 20)
	e.token("1", "f", "14", 1)
	for policy, id := range map[string]string{"PAT-010": "t" + evil, "PAT-013": "n", "PAT-021": "c", "PAT-004": "f", "WS-001": "1", "WS-002": "1", "WS-003": "1"} {
		e.fail(policy, "1", id)
	}
	for i := range e.findings {
		e.findings[i].Message = evil
	}
	return build(t, e.input())
}

func render(t *testing.T, name string, p engine.Plan) string {
	t.Helper()
	for _, export := range plan.Exports() {
		if export.Name == name {
			return export.Render(p, plan.Digest(plan.Encode(p)))
		}
	}
	t.Fatalf("no export %s", name)
	return ""
}

// TestScriptRunsOnlyWhatItShould runs the script with a stand-in for the command
// line that records its arguments.
func TestScriptRunsOnlyWhatItShould(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell here")
	}
	p := hostile(t)
	dir := t.TempDir()
	script := write(t, filepath.Join(dir, "plan.sh"), []byte(render(t, "cli", p)))
	stub := write(t, filepath.Join(dir, "databricks"), []byte("#!/bin/sh\nfor a in \"$@\"; do printf '%s\\0' \"$a\"; done >>calls\nprintf '\\n' >>calls\n"))
	if err := os.Chmod(stub, 0o700); err != nil {
		t.Fatal(err)
	}
	// The script may be run within the times of the plan only: another command tells the time.
	at := func(stamp string) {
		clock := write(t, filepath.Join(dir, "date"), []byte("#!/bin/sh\necho "+stamp+"\n"))
		if err := os.Chmod(clock, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	run := func(env ...string) error {
		cmd := exec.Command("sh", script)
		cmd.Dir = dir
		cmd.Env = append(env, "PATH="+dir+":"+os.Getenv("PATH"))
		return cmd.Run()
	}
	at("20261124130000")
	if run() == nil || run("CONFIRM=other", "PROFILE_1=prod") == nil || run("CONFIRM="+p.ID) == nil {
		t.Error("the script runs without being confirmed, or without a profile")
	}
	for _, stamp := range []string{"20261124115959", "20261125120000", "20301124130000"} {
		if at(stamp); run("CONFIRM="+p.ID, "PROFILE_1=prod") == nil {
			t.Errorf("the script runs at %s", stamp)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "calls")); err == nil {
		t.Fatal("an unconfirmed script called something")
	}
	at("20261125115959")
	if err := run("CONFIRM="+p.ID, "PROFILE_1=prod"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "OWNED")); err == nil {
		t.Fatal("foreign text was executed")
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	changing, critical := 0, 0
	for _, s := range p.Steps {
		if remedy.Changes(s) {
			changing++
		}
		if s.Critical {
			critical++
		}
	}
	if got := strings.Count(string(calls), "--profile\x00prod\x00"); got != changing-critical || critical == 0 {
		t.Errorf("%d calls of %d changes, %d of them critical:\n%q", got, changing, critical, calls)
	}
	if !strings.Contains(string(calls), "workspace-conf\x00set-status\x00--profile\x00prod\x00--json\x00{\"maxTokenLifetimeDays\":\"90\"}\x00") {
		t.Errorf("the setting is not set:\n%q", calls)
	}
}

// TestHCLHoldsNoTemplate checks the quoting by reading it back.
func TestHCLHoldsNoTemplate(t *testing.T) {
	t.Parallel()
	text := render(t, "terraform", hostile(t))
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, opening := range []string{"${", "%{"} {
			if strings.Count(line, opening) != strings.Count(line, opening[:1]+opening) {
				t.Errorf("a template is open in %q", line)
			}
		}
		if strings.Contains(line, "touch") && !strings.Contains(line, `"`) {
			t.Errorf("foreign text stands bare in %q", line)
		}
	}
	for _, want := range []string{`"maxTokenLifetimeDays" = "90"`, `group_name = "builders"`, `host  = "https://prod.example.com"`, "steps on tokens here are beyond Terraform"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, `"users"`) {
		t.Error("the removed group stays in the list")
	}
}

func TestExportsAreListedAndExplained(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, export := range plan.Exports() {
		if export.Name == "" || export.Ending == "" || export.Doc == "" || seen[export.Ending] {
			t.Errorf("export %+v", export.Name)
		}
		seen[export.Ending] = true
		first := export.Render(small(t), "x")
		if second := export.Render(small(t), "x"); first != second {
			t.Errorf("%s differs for the same plan", export.Name)
		}
	}
	if _, err := json.Marshal(seen); err != nil || len(seen) != 2 {
		t.Errorf("%d exports", len(seen))
	}
}

// TestExportsSayFirstWhatTheyDisable, and carry what apply would respect.
func TestExportsSayFirstWhatTheyDisable(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.fill("1", 12)
	e.fail("WS-002", "1", "1")
	e.fail("WS-003", "1", "1")
	in := e.input()
	in.Config.Grace = 7 * 24 * time.Hour
	p := build(t, in)
	for _, export := range plan.Exports() {
		text := render(t, export.Name, p)
		if export.Name == "cli" {
			text = strings.TrimPrefix(text, "#!/bin/sh\n")
		}
		first := strings.SplitN(text, "\n", 3)
		for _, line := range first[:2] {
			if !strings.Contains(line, "disables 12 live tokens of 1 owner, 12 used within 7 days") {
				t.Errorf("%s begins with %q", export.Name, line)
			}
		}
		if !strings.Contains(text, "not before 2026-12-01T12:00:00Z") {
			t.Errorf("%s does not tell the grace period", export.Name)
		}
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(strings.TrimSpace(line), "#") && (strings.Contains(line, "enableTokensConfig") || strings.Contains(line, "databricks_permissions") || strings.Contains(line, "set-permissions")) {
				t.Errorf("%s: a critical step is not commented out: %s", export.Name, line)
			}
		}
	}
}
