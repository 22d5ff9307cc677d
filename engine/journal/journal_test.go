package journal

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
	"patrol/engine/store"
)

func journalClock() time.Time { return time.UnixMilli(1_795_500_000_000) }

func openJournal(t *testing.T, path string, o Options) *Journal {
	t.Helper()
	o.Now = journalClock
	if o.Mode == 0 {
		o.Mode = sqlite.ReadWrite
	}
	j, err := Open(t.Context(), path, o)
	must(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func twoStepsOf(workspace string) engine.Registration {
	body := []byte(`{"plan":1}`)
	return engine.Registration{
		SHA: engine.TextDigest(string(body)), Bytes: body, Approval: []byte(`{}`), By: []string{"a"}, Host: "here", PID: 1,
		Steps: []engine.Step{
			{ID: "s1", WorkspaceID: workspace, Action: engine.Revoke, Target: "t1"},
			{ID: "s2", WorkspaceID: workspace, Action: engine.SetSetting, Target: "k"},
		},
	}
}

func entry(t *testing.T, j *Journal, plan, step string) engine.Entry {
	t.Helper()
	entries, err := j.Entries(t.Context(), plan)
	must(t, err)
	i := slices.IndexFunc(entries, func(e engine.Entry) bool { return e.Step == step })
	if i < 0 {
		t.Fatalf("no step %s", step)
	}
	return entries[i]
}

func moved(e engine.Entry, to engine.StepState) engine.Entry {
	e.State = to
	return e
}

func reasonOf(err error) string {
	if e, ok := engine.AsError(err); ok {
		return e.Reason
	}
	return ""
}

func TestJournalKeepsEveryField(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.db")
	j := openJournal(t, path, Options{})
	r := twoStepsOf("1")
	must(t, j.Begin(t.Context(), r))
	want := engine.Entry{
		Plan: r.SHA, Step: "s2", Workspace: "1", Action: engine.SetSetting, Target: "k", State: engine.StateIntent, Reason: "r", Detail: "d\n\"",
		Attempt: 1, Epoch: 1, HTTP: 200, Request: "q", Before: "b", After: "a", Prior: json.RawMessage(`{"value":null}`), At: 5,
	}
	must(t, j.Move(t.Context(), engine.StatePending, want))
	must(t, j.Note(t.Context(), engine.Note{Plan: r.SHA, Workspace: "1", Kind: engine.NoteStopped, Detail: json.RawMessage(`{}`), At: 6}))
	if got := entry(t, j, r.SHA, "s2"); string(engine.CompactJSON(got)) != string(engine.CompactJSON(want)) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	must(t, j.Close())
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v", path, info.Mode())
	}
	reader := openJournal(t, path, Options{Mode: sqlite.ReadOnly})
	check, err := reader.Verify(t.Context())
	must(t, err)
	if check.Events != 5 || check.Steps != 2 || check.Plans != 1 {
		t.Errorf("checked %+v", check)
	}
	plans, err := reader.PlansOf(t.Context(), "")
	must(t, err)
	if len(plans) != 1 || string(plans[0].Bytes) != string(r.Bytes) {
		t.Errorf("plans %+v", plans)
	}
}

func TestJournalComparesAndSets(t *testing.T) {
	t.Parallel()
	j := openJournal(t, filepath.Join(t.TempDir(), "j.db"), Options{})
	r := twoStepsOf("1")
	must(t, j.Begin(t.Context(), r))
	e := entry(t, j, r.SHA, "s1")
	if err := j.Move(t.Context(), engine.StateIntent, moved(e, engine.StateAcked)); reasonOf(err) != "fenced" {
		t.Errorf("moved from a state it is not in: %v", err)
	}
	must(t, j.Move(t.Context(), engine.StatePending, moved(e, engine.StateSkippedDrift)))
	if err := j.Move(t.Context(), engine.StateSkippedDrift, moved(e, engine.StateIntent)); err == nil {
		t.Error("left a state that is final")
	}
	other := entry(t, j, r.SHA, "s2")
	if err := j.Move(t.Context(), engine.StatePending, moved(other, engine.StateDone)); err == nil {
		t.Error("done without having intended to")
	}
	must(t, j.Begin(t.Context(), r)) // again: known steps stay
	if got := entry(t, j, r.SHA, "s1"); got.State != engine.StateSkippedDrift {
		t.Errorf("registering again made it %s", got.State)
	}
	if _, err := j.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestJournalFencesARunThatWasOvertaken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.db")
	old := openJournal(t, path, Options{})
	r := twoStepsOf("1")
	must(t, old.Begin(t.Context(), r))
	must(t, old.unlock()) // as if its lock had been lost
	fresh := openJournal(t, path, Options{})
	must(t, fresh.Begin(t.Context(), r))
	e := entry(t, old, r.SHA, "s1")
	if err := old.Move(t.Context(), engine.StatePending, moved(e, engine.StateIntent)); reasonOf(err) != "fenced" {
		t.Errorf("the old run wrote: %v", err)
	}
	if err := old.Note(t.Context(), engine.Note{Plan: r.SHA, Workspace: "1", Kind: engine.NoteStopped, Detail: json.RawMessage(`{}`)}); reasonOf(err) != "fenced" {
		t.Errorf("the old run noted: %v", err)
	}
	must(t, fresh.Move(t.Context(), engine.StatePending, moved(e, engine.StateIntent)))
}

func TestJournalLocksOutASecondWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.db")
	first := openJournal(t, path, Options{})
	second := func(what, path string) {
		t.Helper()
		_, err := Open(t.Context(), path, Options{Mode: sqlite.ReadWrite, Now: journalClock})
		if e, ok := engine.AsError(err); !ok || e.Reason != "locked" || e.Class != engine.ClassStorage {
			t.Errorf("second writer, %s: %v", what, err)
		}
	}
	dir := t.TempDir()
	must(t, os.Symlink(path, filepath.Join(dir, "symlink.db")))
	must(t, os.Symlink(filepath.Dir(path), filepath.Join(dir, "folder")))
	must(t, os.Link(path, filepath.Join(dir, "hardlink.db")))
	second("by the same name", path)
	second("by a symbolic link", filepath.Join(dir, "symlink.db"))
	second("in a linked folder", filepath.Join(dir, "folder", "j.db"))
	second("by another name", filepath.Join(dir, "hardlink.db"))
	must(t, os.Rename(path, path+".moved"))
	second("where it was moved to", path+".moved")
	must(t, os.Rename(path+".moved", path))
	openJournal(t, path, Options{Mode: sqlite.ReadOnly})
	must(t, first.Close())
	openJournal(t, filepath.Join(dir, "symlink.db"), Options{})
}

func TestJournalWantsRoom(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.db")
	tight := func(string) (int64, error) { return journalRoom - 1, nil }
	_, err := Open(t.Context(), path, Options{Mode: sqlite.ReadWrite, Now: journalClock, room: tight})
	if reasonOf(err) != "disk_full" {
		t.Fatalf("opened without room: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("left a journal behind")
	}
}

// TestJournalSurvivesAFullDisk fills the file: the line that does not fit is an
// error, what was there stays, and nothing is half written.
func TestJournalSurvivesAFullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.db")
	j := openJournal(t, path, Options{tuning: sqlite.Tuning{Pragmas: []string{"max_page_count(24)"}}})
	r := twoStepsOf("1")
	must(t, j.Begin(t.Context(), r))
	e := moved(entry(t, j, r.SHA, "s1"), engine.StateIntent)
	e.Detail = strings.Repeat("x", 200_000)
	err := j.Move(t.Context(), engine.StatePending, e)
	if reasonOf(err) != "disk_full" {
		t.Fatalf("want disk_full, got %v", err)
	}
	if got := entry(t, j, r.SHA, "s1"); got.State != engine.StatePending {
		t.Errorf("half written: %s", got.State)
	}
	_, err = j.Verify(t.Context())
	must(t, err)
}

func TestJournalNoticesTampering(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"a state":             {`DROP TRIGGER item_ends_once`, `UPDATE item SET state = 'done' WHERE item_id = 's1'`},
		"a reason":            {`UPDATE item SET reason = 'other' WHERE item_id = 's2'`},
		"an event":            {`DROP TRIGGER event_is_never_changed`, `UPDATE event SET at_ms = at_ms + 1 WHERE seq = 2`},
		"an event with hash":  {`DROP TRIGGER event_is_never_changed`, `UPDATE event SET detail = '{}', hash = 'x' WHERE seq = 2`},
		"what an event tells": {`DROP TRIGGER event_is_never_changed`, `UPDATE event SET detail = '{}' WHERE seq = 1`},
		"what a note tells":   {`DROP TRIGGER event_is_never_changed`, `UPDATE event SET detail = '{}' WHERE detail = '{"why":"asked"}'`},
		"an event in between": {`DROP TRIGGER event_is_never_removed`, `DELETE FROM event WHERE seq = 2`},
		"the last event":      {`DROP TRIGGER event_is_never_removed`, `DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)`},
		"a step":              {`DROP TRIGGER item_is_never_removed`, `DELETE FROM item WHERE item_id = 's2'`},
		"an approval":         {`UPDATE approval SET body = x'00'`},
		"another approval":    {`INSERT INTO approval SELECT plan_sha, 'x', x'00', approvers, registered_ms FROM approval`},
		"who approved":        {`UPDATE approval SET approvers = '[]'`},
		"no approval":         {`DELETE FROM approval`},
		"a lease":             {`UPDATE lease SET epoch = epoch + 1`},
		"whose lease":         {`UPDATE lease SET pid = pid + 1`},
		"no lease":            {`PRAGMA foreign_keys = OFF`, `DELETE FROM lease`},
		"a plan":              {`DROP TRIGGER plan_is_never_changed`, `UPDATE plan SET body = x'00'`},
	} {
		t.Run(name, func(t *testing.T) {
			j := openJournal(t, filepath.Join(t.TempDir(), "j.db"), Options{})
			r := twoStepsOf("1")
			must(t, j.Begin(t.Context(), r))
			must(t, j.Note(t.Context(), engine.Note{Plan: r.SHA, Workspace: "1", Kind: engine.NoteStopped, Detail: json.RawMessage(`{"why":"asked"}`), At: 6}))
			must(t, j.Move(t.Context(), engine.StatePending, moved(entry(t, j, r.SHA, "s1"), engine.StateGoneBefore)))
			for _, statement := range statements {
				_, err := j.db.SQL.ExecContext(context.Background(), statement)
				must(t, err)
			}
			if _, err := j.Verify(t.Context()); reasonOf(err) != "journal_damaged" {
				t.Errorf("not noticed: %v", err)
			}
		})
	}
}

// TestJournalChainCoversWhatWasBefore: who forges an event with the hash that it
// should have, and links the next one to it, would have to forge all that follow.
func TestJournalChainCoversWhatWasBefore(t *testing.T) {
	t.Parallel()
	j := openJournal(t, filepath.Join(t.TempDir(), "j.db"), Options{})
	r := twoStepsOf("1")
	must(t, j.Begin(t.Context(), r))
	for _, detail := range []string{`{"why":"asked"}`, `{"why":"again"}`} {
		must(t, j.Note(t.Context(), engine.Note{Plan: r.SHA, Workspace: "1", Kind: engine.NoteStopped, Detail: json.RawMessage(detail), At: 6}))
	}
	var forged engine.JournalEvent // a note, which nothing else in the journal repeats
	for e, err := range j.Events(t.Context(), "") {
		must(t, err)
		if string(e.Detail) == `{"why":"asked"}` {
			forged = e
		}
	}
	forged.Detail = json.RawMessage(`{"why":"forged"}`)
	_, err := j.db.SQL.ExecContext(t.Context(), `DROP TRIGGER event_is_never_changed`)
	must(t, err)
	_, err = j.db.SQL.ExecContext(t.Context(), `UPDATE event SET detail = ?, hash = ? WHERE seq = ?`, string(forged.Detail), chainHash(forged), forged.Seq)
	must(t, err)
	_, err = j.db.SQL.ExecContext(t.Context(), `UPDATE event SET prev_hash = ? WHERE seq = ?`, chainHash(forged), forged.Seq+1)
	must(t, err)
	if _, err := j.Verify(t.Context()); reasonOf(err) != "journal_damaged" {
		t.Errorf("not noticed: %v", err)
	}
}

func TestJournalEventsAreAppendOnly(t *testing.T) {
	t.Parallel()
	j := openJournal(t, filepath.Join(t.TempDir(), "j.db"), Options{})
	must(t, j.Begin(t.Context(), twoStepsOf("1")))
	for _, statement := range []string{`UPDATE event SET hash = ''`, `DELETE FROM event`, `UPDATE plan SET body = x'00'`, `DELETE FROM plan`, `DELETE FROM item`} {
		if _, err := j.db.SQL.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("%s: done", statement)
		}
	}
}

func TestJournalAndDatabaseAreNotMixedUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.db")
	db, err := store.Open(t.Context(), path, store.Options{Mode: sqlite.ReadWrite, Now: journalClock})
	must(t, err)
	must(t, db.Close())
	if _, err := Open(t.Context(), path, Options{Mode: sqlite.ReadWrite, Now: journalClock}); reasonOf(err) != "foreign" {
		t.Errorf("a database was taken for a journal: %v", err)
	}
	journal := filepath.Join(t.TempDir(), "j.db")
	must(t, openJournal(t, journal, Options{}).Close())
	if _, err := store.Open(t.Context(), journal, store.Options{Mode: sqlite.ReadOnly, Now: journalClock}); reasonOf(err) != "foreign" {
		t.Errorf("a journal was taken for a database: %v", err)
	}
}

// TestPlansOf hands out what was asked for only, by the beginning of digest or id.
func TestPlansOf(t *testing.T) {
	t.Parallel()
	j := openJournal(t, filepath.Join(t.TempDir(), "j.db"), Options{})
	var all []string
	for _, body := range []string{`{"plan_id":"p1aa"}`, `{"plan_id":"p1bb"}`, `{"plan_id":"p2cc"}`, `no JSON`} {
		r := twoStepsOf("1")
		r.Bytes, r.SHA = []byte(body), engine.TextDigest(body)
		all = append(all, r.SHA)
		must(t, j.Begin(t.Context(), r))
	}
	for beginning, want := range map[string][]string{"": all, "p1": all[:2], "p1b": all[1:2], all[3][:12]: all[3:], "p9": nil} {
		plans, err := j.PlansOf(t.Context(), beginning)
		must(t, err)
		var got []string
		for _, p := range plans {
			got = append(got, p.SHA)
		}
		slices.Sort(got)
		wanted := slices.Sorted(slices.Values(want))
		if !slices.Equal(got, wanted) {
			t.Errorf("%q: %v, want %v", beginning, got, wanted)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
