package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"patrol/engine/enginetest"
)

// TestScreens holds every list and the end of an audit to the width of a
// terminal: at 80 columns the least telling go, at 140 there is room for them.
// go test -update accepts what is printed.
func TestScreens(t *testing.T) {
	o := simulateOptions{seed: 1, workspaces: 6, tokens: 40, clock: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	account, err := o.account(time.Now)
	must(t, err)
	server := httptest.NewServer(account)
	defer server.Close()
	testdata, err := filepath.Abs("testdata")
	must(t, err)
	dir := t.TempDir()
	t.Chdir(dir)
	must(t, os.WriteFile(filepath.Join(dir, "sim.cfg"), []byte(account.ConfigFile(server.URL)), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "waivers.yaml"), []byte(`waivers:
  - id: W-1
    policy: PAT-004
    workspace: prod-*
    owner: "*"
    reason: Kept as a spare until the new gateway is live.
    approver: somebody.with.a.long.name@example.com
    created: 2026-11-01
    expires: 2027-02-01
`), 0o600))
	t.Setenv("DATABRICKS_CONFIG_FILE", filepath.Join(dir, "sim.cfg"))
	screen := func(width int, args ...string) string {
		var out, said bytes.Buffer
		variables := map[string]string{"NO_COLOR": "1", "PATROL_OUTPUT_DIR": "report", "USER": "ana"}
		e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &said, now: func() time.Time { return o.clock }, environ: func() []string { return nil }, version: "test",
			lookup:         func(key string) (string, bool) { value, set := variables[key]; return value, set },
			stdoutTerminal: true, width: width, height: 40}
		if code := run(context.Background(), e, args); code != exitOK && code != exitViolations {
			t.Fatalf("%v: exit code %d: %s", args, code, said.String())
		}
		return out.String()
	}
	screen(80, "audit", "-q", "--account", "account", "--parallel", "1", "--format", "json")
	digest := regexp.MustCompile(`(?m)\b([0-9a-f]{12}|[0-9a-f]{64})$|\bp[0-9a-f]{16}\b`)
	names := strings.NewReplacer(server.URL, "http://127.0.0.1:"+strings.Repeat("9", len(server.URL)-len("http://127.0.0.1:")))
	for _, width := range []int{80, 140} {
		var all strings.Builder
		for _, line := range []string{
			"report --format json", "tokens --limit 5", "findings --limit 5", "findings --group owner --limit 5", "snapshots list", "policies list",
			"evaluations list", "waivers list", "waivers check", "doctor --account account", "plan -o plan.json", "show plan.json --limit 3",
		} {
			text := screen(width, strings.Fields(line)...)
			for row := range strings.Lines(text) {
				if n := utf8.RuneCountInString(strings.TrimRight(row, "\n")); n > width {
					t.Errorf("%s at %d columns: %d: %s", line, width, n, row)
				}
			}
			fmt.Fprintf(&all, "$ patrol %s\n%s\n", line, digest.ReplaceAllString(names.Replace(text), "<digest>"))
		}
		enginetest.Golden(t, filepath.Join(testdata, "screen-"+strconv.Itoa(width)+".txt"), []byte(all.String()))
	}
}
