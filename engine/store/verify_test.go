package store

import (
	"encoding/json"
	"testing"

	"patrol/engine"
)

// TestStateBeforeIsHeldToItsDigest edits what an earlier snapshot had, which
// decides whether a setting counts as changed since.
func TestStateBeforeIsHeldToItsDigest(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	with := func(limit string, day int) engine.Snapshot {
		c := capture("prod", "1", now.AddDate(0, 0, day), nil, nil)
		c.Sections[engine.SectionSettings] = engine.Section{
			Coverage: engine.Coverage{Status: engine.Complete}, Document: json.RawMessage(`{"maxTokenLifetimeDays":"` + limit + `"}`),
		}
		return mustSave(t, db, c)
	}
	with("90", 0)
	second := with("730", 1)
	state, err := db.PreviousState(t.Context(), second)
	if err != nil || string(state.Settings.Document) != `{"maxTokenLifetimeDays":"90"}` {
		t.Fatal(state, err)
	}
	_, err = db.SQL.ExecContext(t.Context(), `UPDATE document SET body = replace(body, '"90"', '"730"')`)
	must(t, err)
	_, err = db.PreviousState(t.Context(), second)
	wantReason(t, err, "digest_mismatch")
	must(t, db.VerifySnapshot(t.Context(), second.ID)) // which alone would tell nothing
}
