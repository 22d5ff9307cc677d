package engine_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"patrol/engine"
)

var monday = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func changeAt(hours int, actor, action string, keys ...string) engine.ChangeEvent {
	return engine.ChangeEvent{At: monday.Add(time.Duration(hours) * time.Hour).UnixMilli(), ID: actor, Actor: actor, Action: action, Keys: keys}
}

func TestAuthors(t *testing.T) {
	t.Parallel()
	log := engine.ChangeLog{First: monday.UnixMilli(), Last: monday.AddDate(0, 0, 2).UnixMilli(), Events: []engine.ChangeEvent{
		changeAt(0, "at-the-first-moment", "workspaceConfEdit", "a"),
		changeAt(1, "ana@example.com", "workspaceConfEdit", "a", "b"),
		changeAt(2, "bob@example.com", "workspaceConfEdit", "b"),
		changeAt(3, "cleo@example.com", "changeDbTokenAcl"),
		changeAt(4, "", "workspaceConfEdit"), // of which keys is not told
		changeAt(24, "at-the-last-moment", "workspaceConfEdit", "a"),
		changeAt(25, "after", "workspaceConfEdit", "a"),
	}}
	log.Events[1].Values = []string{"90", "a, b"}
	log.Events[3].Target, log.Events[3].Permission = "77", "CAN_USE"
	until := monday.AddDate(0, 0, 1)
	for _, test := range []struct {
		section   engine.SectionName
		key, want string
	}{
		{engine.SectionSettings, "a", "audit log: ana@example.com at 2026-11-23T01:00:00Z (a=90), somebody at 2026-11-23T04:00:00Z, at-the-last-moment at 2026-11-24T00:00:00Z"},
		{engine.SectionSettings, "b", `audit log: ana@example.com at 2026-11-23T01:00:00Z (b="a, b"), bob@example.com at 2026-11-23T02:00:00Z, somebody at 2026-11-23T04:00:00Z`},
		{engine.SectionGrants, "", "audit log: cleo@example.com at 2026-11-23T03:00:00Z (77 CAN_USE)"},
		{engine.SectionIPAccessLists, "", "audit log (2026-11-23T00:00:00Z to 2026-11-25T00:00:00Z): names nobody"},
	} {
		if got := log.Authors(test.section, test.key, monday, until).String(); got != test.want {
			t.Errorf("%s %s: %s, want %s", test.section, test.key, got, test.want)
		}
	}
}

// TestAuthorsAreBounded: the newest are named, the others counted.
func TestAuthorsAreBounded(t *testing.T) {
	t.Parallel()
	var log engine.ChangeLog
	for i := range 9 {
		log.Events = append(log.Events, changeAt(i, fmt.Sprintf("u%d", i), "changeDbTokenAcl"))
	}
	a := log.Authors(engine.SectionGrants, "", monday.Add(-time.Hour), monday.AddDate(0, 0, 1))
	text := a.String()
	if a.Count != 9 || !strings.HasPrefix(text, "audit log: 4 earlier, u4 at ") || !strings.HasSuffix(text, "u8 at 2026-11-23T08:00:00Z") {
		t.Errorf("%d: %s", a.Count, text)
	}
}

// TestAuthorsAreNoWords: a name cannot pass for several, nor for what was done.
func TestAuthorsAreNoWords(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"x at 2026-01-01T00:00:00Z (a=1), boss@example.com", "x;y", "x\ny", "x\u202ey", `x"y`, "x\u00a0y"} {
		log := engine.ChangeLog{Events: []engine.ChangeEvent{changeAt(1, name, "changeDbTokenAcl")}}
		text := log.Authors(engine.SectionGrants, "", monday, monday.AddDate(0, 0, 1)).String()
		if want := fmt.Sprintf("audit log: %q at 2026-11-23T01:00:00Z", name); text != want {
			t.Errorf("%s, want %s", text, want)
		}
	}
}

func TestSnapshotChangeLog(t *testing.T) {
	t.Parallel()
	of := func(c engine.Coverage, document string) engine.Snapshot {
		s := engine.Snapshot{Coverage: map[engine.SectionName]engine.Coverage{engine.SectionAuditChanges: c}, Documents: map[engine.SectionName]json.RawMessage{}}
		s.Documents[engine.SectionAuditChanges] = json.RawMessage(document)
		return s
	}
	setting := engine.StateChange{Kind: engine.Changed, Section: engine.SectionSettings, Key: "a"}
	for name, test := range map[string]struct {
		snapshot engine.Snapshot
		change   engine.StateChange
		want     string
	}{
		"from before there were logs": {engine.Snapshot{}, setting, ""},
		"nobody asked":                {of(engine.NotRequested(""), ""), setting, ""},
		"nothing of this workspace":   {of(engine.Coverage{Status: engine.Failed, Reason: "no_rows"}, ""), setting, "audit log: not read (no_rows)"},
		"nobody":                      {of(engine.Coverage{Status: engine.Complete}, `{"first_ms":0,"last_ms":1000,"events":[]}`), setting, "audit log (1970-01-01T00:00:00Z to 1970-01-01T00:00:01Z): names nobody"},
		"no action changes it":        {of(engine.Coverage{Status: engine.Complete}, `{"first_ms":0,"last_ms":1000,"events":[]}`), engine.StateChange{Section: "restrict_workspace_admins"}, ""},
	} {
		log, err := test.snapshot.ChangeLog()
		if err != nil {
			t.Fatal(err)
		}
		if got := log.Of(test.change, engine.Snapshot{}, test.snapshot); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if _, err := of(engine.Coverage{Status: engine.Complete}, `{`).ChangeLog(); err == nil {
		t.Error("a damaged document was read")
	}
}

// TestExportsAreNoState: what somebody exported for the audit, and who read it,
// is no change of the workspace.
func TestExportsAreNoState(t *testing.T) {
	t.Parallel()
	at := func(text string) engine.Snapshot {
		s := engine.Snapshot{Coverage: map[engine.SectionName]engine.Coverage{}, Documents: map[engine.SectionName]json.RawMessage{}}
		for _, name := range []engine.SectionName{engine.SectionWorkspace, engine.SectionAuditLog, engine.SectionAuditChanges, engine.SectionTokenReport, engine.SectionIPAccessLists} {
			s.Coverage[name], s.Documents[name] = engine.Coverage{Status: engine.Complete}, json.RawMessage(text)
		}
		for _, name := range []engine.SectionName{engine.SectionSettings, engine.SectionGrants} {
			s.Coverage[name], s.Documents[name] = engine.Coverage{Status: engine.Complete}, json.RawMessage(`null`)
		}
		return s
	}
	changes, unread, err := engine.StateChanges(at(`[1]`), at(`[2]`))
	if err != nil || len(unread) > 0 || len(changes) != 1 || changes[0].Section != engine.SectionIPAccessLists {
		t.Errorf("%v, %v, %v", changes, unread, err)
	}
}
