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

	"patrol/collectors"
	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/enginetest"

	"github.com/vbauerster/mpb/v8"
)

// TestScreens holds every list and the end of an audit to the width of a
// terminal: at 80 columns the least telling go, at 140 there is room for them.
// go test -update accepts what is printed.
func TestScreens(t *testing.T) {
	enginetest.NotInRace(t)
	o := simulateOptions{Options: simulator.Options{Seed: 1, Workspaces: 6, Tokens: 40}, clock: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
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

// Colours are for a terminal that knows them, and for nobody who said no.
func TestColor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		terminal, off bool
		variables     map[string]string
		want          bool
	}{
		"terminal":         {terminal: true, want: true},
		"pipe":             {want: false},
		"--no-color":       {terminal: true, off: true, want: false},
		"NO_COLOR":         {terminal: true, variables: map[string]string{"NO_COLOR": "1"}, want: false},
		"an empty one":     {terminal: true, variables: map[string]string{"NO_COLOR": ""}, want: true},
		"a dumb terminal":  {terminal: true, variables: map[string]string{"TERM": "dumb"}, want: false},
		"another terminal": {terminal: true, variables: map[string]string{"TERM": "xterm-256color"}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			e := &env{stdoutTerminal: c.terminal, lookup: func(key string) (string, bool) {
				text, set := c.variables[key]
				return text, set
			}}
			if got := e.color(c.off); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestBarsStayInPlace: however many workspaces are in hand, the bars are a
// fixed number of lines that fit the terminal.
func TestBarsStayInPlace(t *testing.T) {
	t.Parallel()
	const height = 24
	var screen strings.Builder
	draw := make(chan any)
	b := newBars(&screen, 80, barsFor(200, height), 200, mpb.WithManualRefresh(draw))
	for from := 0; from < 200; from += 20 { // twenty at once
		for i := from; i < from+20; i++ {
			b.see(collectors.Event{Kind: collectors.EventStarted, Workspace: fmt.Sprintf("workspace-%03d", i)})
			for _, c := range collectors.All() {
				b.see(collectors.Event{Kind: collectors.EventDone, Workspace: fmt.Sprintf("workspace-%03d", i), Section: c.Section})
			}
		}
		for i := from; i < from+20; i++ {
			b.see(collectors.Event{Kind: collectors.EventDone, Workspace: fmt.Sprintf("workspace-%03d", i)})
		}
		draw <- nil
	}
	b.end()
	frames, lines := 0, 0
	for line := range strings.Lines(screen.String()) {
		lines++
		if !strings.HasPrefix(line, "workspaces ") {
			continue
		}
		if lines > mostBars+1 {
			t.Errorf("frame %d has %d lines, want at most %d", frames, lines, mostBars+1)
		}
		frames, lines = frames+1, 0
	}
	if frames < 10 || !strings.Contains(screen.String(), " 200/200 read") {
		t.Errorf("%d frames: %s", frames, screen.String())
	}
}

func TestBarsFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ workspaces, height, want int }{{2, 24, 2}, {200, 24, mostBars}, {200, 6, 3}, {200, 2, 0}, {0, 24, 0}} {
		if got := barsFor(c.workspaces, c.height); got != c.want {
			t.Errorf("%d workspaces on %d rows: got %d bars, want %d", c.workspaces, c.height, got, c.want)
		}
	}
}

// TestTellManySnapshots: an account is told of in a few lines, each gap once.
func TestTellManySnapshots(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	a := newApp(&env{stderr: &said})
	var snapshots []engine.Snapshot
	for i := range 200 {
		s := engine.Snapshot{Workspace: engine.Workspace{Name: fmt.Sprintf("w%03d", i)}, Tokens: 7,
			Coverage: map[engine.SectionName]engine.Coverage{engine.SectionTokens: {Status: engine.Complete}}}
		if i%5 == 0 {
			s.Coverage[engine.SectionGrants] = engine.Coverage{Status: engine.NotInitialised, Reason: "not_initialised", Hint: "Wait."}
		}
		snapshots = append(snapshots, s)
	}
	a.saySnapshots(snapshots)
	want := "200 workspaces, 160 of them complete: 1,400 tokens\n" +
		"  w000, w005, w010, w015, w020, … and 35 more: grants: not_initialised (not_initialised) \n  hint: Wait.\n"
	if said.String() != want {
		t.Errorf("got  %q\nwant %q", said.String(), want)
	}
	said.Reset()
	a.verbose = true
	a.saySnapshots(snapshots)
	if n := strings.Count(said.String(), "\n"); n != 200+80 {
		t.Errorf("with -v: %d lines", n)
	}
}
