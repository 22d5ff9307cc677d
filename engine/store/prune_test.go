package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
)

// TestPrune: what is left reads as before and verifies, the chain too; what went
// is not in the file any more.
func TestPrune(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(enginetest.Seed(t), 1))
	db := newDB(t)
	all := population(60, 7, "")
	var snapshots []engine.Snapshot
	var lists [][]engine.Token
	for day := range 8 {
		list := historyDay(random, all, day)
		if day == 1 {
			list[3].Comment = "a text that is to go"
			list[3].Raw = rawOf(list[3])
		}
		lists = append(lists, list)
		snapshots = append(snapshots, mustSave(t, db, capture("prod", "1", now.AddDate(0, 0, day), list, directory(5+random.IntN(4)))))
		other := mustSave(t, db, capture("other", "2", now.AddDate(0, 0, day), population(10, 3, ""), nil))
		writeFindings(t, db, other)
		writeFindings(t, db, snapshots[day])
	}
	before := historiesOf(t, db, lists[7])

	gone, err := db.Prune(t.Context(), snapshots[:5])
	if err != nil || gone != 5 {
		t.Fatalf("%d evaluations went, %v", gone, err)
	}
	left, err := db.Snapshots(t.Context())
	if err != nil || len(left) != 3+8 {
		t.Fatalf("%d snapshots are left, %v", len(left), err)
	}
	for _, s := range left {
		if err := db.VerifySnapshot(t.Context(), s.ID); err != nil {
			t.Error(err)
		}
	}
	if err := db.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
	for day := 5; day < 8; day++ {
		if got := ids(tokensIn(t, db, snapshots[day].ID)); !slices.Equal(got, ids(lists[day])) {
			t.Errorf("day %d: tokens %v, want %v", day, got, ids(lists[day]))
		}
	}
	got := describe(collect(t, db.TokenChanges(t.Context(), snapshots[5], snapshots[7])))
	if want := changesOf(lists[5], lists[7]); !slices.Equal(got, want) {
		t.Errorf("changes %v, want %v", got, want)
	}
	if after := historiesOf(t, db, lists[7]); !slices.Equal(after, before) {
		t.Errorf("since when tokens are known: %v, want %v", after, before)
	}
	if _, err := db.Snapshot(t.Context(), snapshots[2].ID); err == nil {
		t.Error("a pruned snapshot is still there")
	}
	holdsNowhere(t, db, "a text that is to go")
	// Tokens that come back and days that follow are stored as ever.
	next := mustSave(t, db, capture("prod", "1", now.AddDate(0, 0, 9), lists[1], nil))
	if err := db.VerifySnapshot(t.Context(), next.ID); err != nil {
		t.Error(err)
	}
	if err := db.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
}

func ids(tokens []engine.Token) []string {
	var list []string
	for _, t := range tokens {
		list = append(list, t.ID)
	}
	return list
}

// historiesOf tells when each token was first seen.
func historiesOf(t *testing.T, db *DB, tokens []engine.Token) (texts []string) {
	t.Helper()
	snapshots, err := db.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for subject, err := range db.Subjects(t.Context(), snapshots[1].ID, now, true) {
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, fmt.Sprint(subject.Token.ID, " ", *subject.Peers.FirstSeen))
	}
	if len(texts) != len(tokens) {
		t.Fatalf("%d tokens, want %d", len(texts), len(tokens))
	}
	return texts
}

func holdsNowhere(t *testing.T, db *DB, text string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(db.Path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(text)) {
			t.Errorf("%s still holds %q", suffix, text)
		}
	}
}

func TestPruneRefuses(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	var all []engine.Snapshot
	for day := range 3 {
		all = append(all, mustSave(t, db, capture("prod", "1", now.AddDate(0, 0, day), nil, nil)))
	}
	for name, list := range map[string][]engine.Snapshot{"all of them": all, "one in between": all[1:2], "the newest": all[2:]} {
		if _, err := db.Prune(t.Context(), list); err == nil {
			t.Errorf("%s: pruned", name)
		}
	}
	if left, err := db.Snapshots(t.Context()); err != nil || len(left) != 3 {
		t.Errorf("%d left, %v", len(left), err)
	}
}

// TestVerifyChain: each snapshot and each trace of a pruned one that is removed
// is missed, unless it is the newest.
func TestVerifyChain(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{
		`DELETE FROM pruned_snapshot WHERE id = 1`,
		`DELETE FROM pruned_snapshot WHERE id = 2`,
		`UPDATE pruned_snapshot SET digest = 'x' WHERE id = 2`,
		`UPDATE pruned_snapshot SET previous = 'x' WHERE id = 2`,
		`DELETE FROM section WHERE snapshot_id = 4; DELETE FROM snapshot WHERE id = 4`,
	} {
		db := newDB(t)
		var all []engine.Snapshot
		for day := range 5 {
			all = append(all, mustSave(t, db, capture("prod", "1", now.AddDate(0, 0, day), nil, nil)))
		}
		if _, err := db.Prune(t.Context(), all[:2]); err != nil {
			t.Fatal(err)
		}
		if err := db.VerifyChain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := db.SQL.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		wantReason(t, db.VerifyChain(t.Context()), "chain_broken")
	}
}
