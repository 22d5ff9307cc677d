package store

import (
	"math/rand/v2"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
)

// sameTogether: verifying snapshots in one pass finds what verifying each finds.
func sameTogether(t *testing.T, db *DB, ids ...int64) {
	t.Helper()
	list := make([]engine.Snapshot, len(ids)) // what is damaged cannot be read
	for i, id := range ids {
		list[i] = engine.Snapshot{ID: id, Workspace: engine.Workspace{ID: "1"}}
	}
	for i, err := range db.VerifySnapshots(t.Context(), list...) {
		alone := db.VerifySnapshot(t.Context(), ids[i])
		if (err == nil) != (alone == nil) || err != nil && err.Error() != alone.Error() {
			t.Errorf("snapshot %d: together %v, alone %v", ids[i], err, alone)
		}
	}
}

func snapshotsOf(t *testing.T, db *DB, ids ...int64) []engine.Snapshot {
	t.Helper()
	var list []engine.Snapshot
	for _, id := range ids {
		s, err := db.Snapshot(t.Context(), id)
		must(t, err)
		list = append(list, s)
	}
	return list
}

// TestIntactTogether verifies what nobody edited, over random histories in which
// some snapshots did not read their tokens or have a log.
func TestIntactTogether(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(enginetest.Seed(t), 3))
	db := newDB(t)
	all := population(40, 7, "")
	var ids []int64
	for day := range 10 {
		c := capture("prod", "1", now.AddDate(0, 0, day), historyDay(random, all, day), directory(5+random.IntN(4)))
		switch day {
		case 3, 4:
			c.Sections[engine.SectionTokens] = engine.Section{Coverage: engine.Coverage{Status: engine.Denied, Reason: "denied", Hint: "be admin"}}
		case 6:
			c.Sections[engine.SectionAuditLog] = engine.Section{Coverage: complete, Activity: func(yield func(engine.Activity, error) bool) {
				yield(engine.Activity{TokenID: tokenID(1), Events: 3}, nil)
			}}
		}
		ids = append(ids, mustSave(t, db, c).ID)
		mustSave(t, db, capture("other", "2", now.AddDate(0, 0, day), all[:10], nil)) // is no matter of theirs
	}
	for range 40 {
		some := random.Perm(len(ids))[:1+random.IntN(len(ids))]
		list := make([]int64, len(some))
		for i, place := range some {
			list[i] = ids[place]
		}
		if err := db.verify(t.Context(), snapshotsOf(t, db, list...)...); err != nil {
			t.Errorf("%v are not intact together: %v", list, err)
		}
	}
	if db.verify(t.Context(), snapshotsOf(t, db, ids[0], ids[0]+1)...) == nil {
		t.Error("snapshots of two workspaces were read as one")
	}
}

// TestVerifyOfSeveralTellsWhich edits one row that one of three snapshots holds.
func TestVerifyOfSeveralTellsWhich(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	tokens := population(10, 3, "")
	for day := range 3 {
		mustSave(t, db, capture("prod", "1", now.AddDate(0, 0, day), tokens[day:day+5], nil))
	}
	if _, err := db.SQL.ExecContext(t.Context(), `UPDATE token_version SET comment = 'x' WHERE token_id = ?`, tokens[6].ID); err != nil {
		t.Fatal(err)
	}
	errs := db.VerifySnapshots(t.Context(), snapshotsOf(t, db, 1, 2, 3)...)
	if errs[0] != nil || errs[1] != nil {
		t.Errorf("intact ones: %v, %v", errs[0], errs[1])
	}
	wantReason(t, errs[2], "digest_mismatch")
}
