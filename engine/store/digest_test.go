package store

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
)

// TestDigestIsUnambiguous: rows that differ in where one value ends and the next
// begins, or in what is absent and what is zero, have different digests.
func TestDigestIsUnambiguous(t *testing.T) {
	t.Parallel()
	zero := int64(0)
	for name, write := range map[string][2]func(*digester){
		"where a text ends": {func(d *digester) { d.texts("ab", "c") }, func(d *digester) { d.texts("a", "bc") }},
		"text like another": {func(d *digester) { d.texts("asb") }, func(d *digester) { d.texts("a", "b") }},
		"where a list ends": {func(d *digester) { d.list([]string{"a"}); d.list(nil) }, func(d *digester) { d.list(nil); d.list([]string{"a"}) }},
		"no time and zero":  {func(d *digester) { d.optional(nil) }, func(d *digester) { d.optional(&zero) }},
		"no row and empty":  {func(d *digester) { d.raw(nil) }, func(d *digester) { d.raw(json.RawMessage{}) }},
		"absent and zero":   {func(d *digester) { d.token(&engine.Token{}) }, func(d *digester) { d.token(&engine.Token{Created: &zero}) }},
		"where a row ends": {
			func(d *digester) { d.token(&engine.Token{ID: "1"}); d.token(&engine.Token{ID: "2", Comment: "x"}) },
			func(d *digester) { d.token(&engine.Token{ID: "1", Comment: "x"}); d.token(&engine.Token{ID: "2"}) },
		},
		"items of a list": {
			func(d *digester) { d.token(&engine.Token{Scopes: []string{"a", "b"}}) }, func(d *digester) { d.token(&engine.Token{Scopes: []string{"ab"}}) },
		},
		"owner and creator":  {func(d *digester) { d.token(&engine.Token{OwnerID: "1"}) }, func(d *digester) { d.token(&engine.Token{CreatorID: "1"}) }},
		"comment and id":     {func(d *digester) { d.token(&engine.Token{ID: "xy"}) }, func(d *digester) { d.token(&engine.Token{ID: "x", Comment: "y"}) }},
		"two kinds of scope": {func(d *digester) { d.token(&engine.Token{Scopes: []string{"sql"}}) }, func(d *digester) { d.token(&engine.Token{InferredScopes: []string{"sql"}}) }},
	} {
		for version := 1; version <= digestVersion; version++ {
			var sums [2]string
			for i := range write {
				d := newDigester(version)
				write[i](d)
				sums[i] = d.hex()
			}
			if sums[0] == sums[1] {
				t.Errorf("version %d: %s: both have digest %s", version, name, sums[0])
			}
		}
	}
}

// TestDigestCoversEachField by itself: most of a token stands in its row as it
// came, too, which an import may not have.
func TestDigestCoversEachField(t *testing.T) {
	t.Parallel()
	one, yes := int64(1), true
	seen := map[string]string{}
	note := func(name string, write func(*digester)) {
		for version := 1; version <= digestVersion; version++ {
			d := newDigester(version)
			write(d)
			sum := d.hex()
			if other, twice := seen[sum]; twice {
				t.Errorf("version %d: %s and %s have the same digest", version, name, other)
			}
			seen[sum] = name
		}
	}
	for name, token := range map[string]engine.Token{
		"nothing": {}, "id": {ID: "1"}, "comment": {Comment: "1"}, "created": {Created: &one}, "expires": {Expires: &one}, "last used": {LastUsed: &one},
		"owner": {OwnerID: "1"}, "creator": {CreatorID: "1"}, "name of creator": {CreatorName: "1"}, "autoscope": {AutoscopeState: "1"},
		"scopes": {Scopes: []string{"1"}}, "inferred": {InferredScopes: []string{"1"}}, "backfill": {BackfillScopes: []string{"1"}},
		"defect": {Defects: []engine.Defect{{Field: "1"}}}, "reason": {Defects: []engine.Defect{{Reason: "1"}}}, "value": {Defects: []engine.Defect{{Value: "1"}}}, "row": {Raw: json.RawMessage("1")}, "other row": {Raw: json.RawMessage("2")},
	} {
		note("token: "+name, func(d *digester) { d.token(&token) })
	}
	for name, p := range map[string]engine.Principal{
		"nothing": {}, "id": {ID: "1"}, "kind": {Kind: engine.User}, "name": {Name: "1"}, "display name": {DisplayName: "1"}, "active": {Active: &yes},
		"admin": {Admin: new(true)}, "groups": {Groups: []string{"1"}}, "row": {Raw: json.RawMessage("1")},
	} {
		note("principal: "+name, func(d *digester) { d.principal(p) })
	}
	for name, w := range map[string]engine.Workspace{
		"nothing": {}, "id": {ID: "1"}, "name": {Name: "1"}, "host": {Host: "1"}, "cloud": {Cloud: "1"}, "label": {Labels: map[string]string{"1": ""}}, "value of label": {Labels: map[string]string{"1": "1"}},
	} {
		note("workspace: "+name, func(d *digester) { d.header(engine.Snapshot{Workspace: w}) })
	}
}

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
		slices.Sort(list)
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
