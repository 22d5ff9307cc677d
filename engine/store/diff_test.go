package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
)

// TestChangesAreThoseOfTheLists compares snapshots by their stored versions and
// by their whole lists, over random histories.
func TestChangesAreThoseOfTheLists(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(enginetest.Seed(t), 1))
	db := newDB(t)
	all := population(60, 7, "")
	var snapshots []engine.Snapshot
	var lists [][]engine.Token
	for day := range 8 {
		list := historyDay(random, all, day)
		lists = append(lists, list)
		snapshots = append(snapshots, mustSave(t, db, capture("prod", "1", now.AddDate(0, 0, day), list, directory(5+random.IntN(4)))))
		mustSave(t, db, capture("other", "2", now.AddDate(0, 0, day), list[:10], nil)) // another workspace changes nothing
	}
	for i := range snapshots {
		for j := i; j < len(snapshots); j++ {
			got := collect(t, db.TokenChanges(t.Context(), snapshots[i], snapshots[j]))
			if want := changesOf(lists[i], lists[j]); !slices.Equal(describe(got), want) {
				t.Fatalf("from day %d to %d: got %v, want %v", i, j, describe(got), want)
			}
		}
	}
}

// historyDay drops, brings back, changes and uses some of the tokens.
func historyDay(random *rand.Rand, all []engine.Token, day int) []engine.Token {
	var list []engine.Token
	for i := range all {
		t := &all[i]
		switch random.IntN(8) {
		case 0:
			continue
		case 1:
			t.Comment = fmt.Sprintf("day %d", day)
		case 2:
			t.Scopes = []string{fmt.Sprintf("scope-%d", day)}
		case 3:
			t.LastUsed = new(now.UnixMilli() + int64(day)*engine.Day)
		}
		t.Raw = rawOf(*t)
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b engine.Token) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// changesOf compares two lists in the plainest way.
func changesOf(before, after []engine.Token) (want []string) {
	find := func(list []engine.Token, id string) *engine.Token {
		for i := range list {
			if list[i].ID == id {
				return &list[i]
			}
		}
		return nil
	}
	ids := map[string]bool{}
	for _, list := range [][]engine.Token{before, after} {
		for _, t := range list {
			ids[t.ID] = true
		}
	}
	for _, id := range engine.SortedKeys(ids) {
		a, b := find(before, id), find(after, id)
		switch {
		case a == nil:
			want = append(want, "appeared "+id)
		case b == nil:
			want = append(want, "vanished "+id)
		default:
			if fields := engine.TokenFields(a, b); len(fields) > 0 {
				want = append(want, fmt.Sprint("changed ", id, fields))
			}
		}
	}
	return want
}

func describe(changes []engine.TokenChange) (texts []string) {
	for _, c := range changes {
		text := string(c.Kind) + " " + c.ID()
		if c.Kind == engine.Changed {
			text += fmt.Sprint(c.Fields)
		}
		texts = append(texts, text)
	}
	return texts
}
