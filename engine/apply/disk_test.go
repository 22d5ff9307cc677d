package apply_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"patrol/engine"
	"patrol/engine/apply"
)

// fullJournal has no room for its n-th line.
type fullJournal struct {
	apply.Journal
	room int
	full bool
}

func (f *fullJournal) Move(ctx context.Context, from engine.StepState, to engine.Entry) error {
	if f.room == 0 {
		f.full = true
		return &engine.Error{Class: engine.ClassStorage, Reason: "disk_full", Op: "write journal"}
	}
	f.room--
	return f.Journal.Move(ctx, from, to)
}

// TestDiskFullAtEveryLine: whichever line of the journal finds no room, nothing
// is sent that was not announced by a line before, the run stops with
// ClassStorage, and a run with room again completes the plan truly.
func TestDiskFullAtEveryLine(t *testing.T) {
	t.Parallel()
	for room := 0; ; room++ {
		w := newWorld(t, "")
		tokens := w.revoke(4)
		full := &fullJournal{room: room}
		w.change = func(j *apply.Job) {
			full.Journal = j.Journal
			j.Journal = full
		}
		_, err := w.apply(t.Context())
		if !full.full {
			if room != 3*len(tokens) { // intent, acked, done
				t.Errorf("a whole run takes %d lines", room)
			}
			return
		}
		known, ok := engine.AsError(err)
		if !ok || known.Class != engine.ClassStorage || known.Reason != "disk_full" {
			t.Fatalf("line %d: ended with %v", room+1, err)
		}
		w.sent(http.MethodDelete, (room+2)/3)
		w.change, w.options.Resume = nil, true
		report := w.must("")
		lost := engine.StateDone
		if room%3 == 1 { // sent, and the answer not written down
			lost = engine.StateGoneAfterIntent
		}
		want := []engine.StepState{engine.StateDone, engine.StateDone, engine.StateDone, engine.StateDone}
		want[room/3] = lost
		w.states(report, want...)
		if t.Failed() {
			t.Fatal(fmt.Sprint("line ", room+1))
		}
	}
}
