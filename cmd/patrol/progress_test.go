package main

import (
	"fmt"
	"strings"
	"testing"

	"patrol/collectors"
	"patrol/engine"

	"github.com/vbauerster/mpb/v8"
)

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
