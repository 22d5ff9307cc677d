package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"

	"github.com/google/go-cmp/cmp"
)

func TestParties(t *testing.T) {
	t.Parallel()
	at := now.UnixMilli()
	tokens := []engine.Token{
		{ID: "a", OwnerID: "1", CreatorID: "2", Expires: new(at + 1)},
		{ID: "b", OwnerID: "1", CreatorID: "9", Expires: new(int64(-1))},
		{ID: "c", OwnerID: "1", CreatorID: "", Expires: new(at)}, // expired this very instant
		{ID: "d", OwnerID: "9", CreatorID: "1"},                  // expiry unknown: not known to have ended
		{ID: "e"},
	}
	principals := []engine.Principal{
		{ID: "1", Kind: engine.User, Name: "ann@example.com", DisplayName: "Ann", Active: new(true), Admin: new(true), Groups: []string{"admins", "users"}},
		{ID: "2", Kind: engine.ServicePrincipal, Name: "app"},
	}
	ann := engine.Party{ID: "1", Kind: engine.User, Name: "ann@example.com", DisplayName: "Ann", Active: new(true), Admin: new(true), Groups: []string{"admins", "users"}, LiveTokens: 2}
	app := engine.Party{ID: "2", Kind: engine.ServicePrincipal, Name: "app"} // whether it is active, or an admin, is not known
	gone := engine.Party{ID: "9", Kind: engine.Missing, Active: new(false), Admin: new(false), LiveTokens: 1}
	want := map[string][2]engine.Party{"a": {ann, app}, "b": {ann, gone}, "c": {ann, {}}, "d": {gone, ann}, "e": {}}

	db := newDB(t)
	s := mustSave(t, db, capture("prod", "1", now, tokens, principals))
	mustSave(t, db, capture("other", "2", now, tokens, principals)) // counts for itself
	for _, subject := range collect(t, db.Subjects(t.Context(), s.ID, now, true)) {
		if diff := cmp.Diff(want[subject.Token.ID], [2]engine.Party{subject.Owner, subject.Creator}); diff != "" {
			t.Errorf("%s: %s", subject.Token.ID, diff)
		}
		if diff := cmp.Diff(engine.Derive(subject.Token, at), subject.Facts); diff != "" {
			t.Errorf("%s: %s", subject.Token.ID, diff)
		}
	}
	later := collect(t, db.Subjects(t.Context(), s.ID, now.Add(time.Hour), true))
	if later[0].Owner.LiveTokens != 1 || *later[0].Facts.Expired != true {
		t.Fatal(later[0])
	}
}

// TestPartiesThatOnlyTheAccountKnows: the account's word is about missing
// principals, and changes nothing else of them; the digest covers it.
func TestPartiesThatOnlyTheAccountKnows(t *testing.T) {
	t.Parallel()
	tokens := []engine.Token{{ID: "a", OwnerID: "1", CreatorID: "7"}, {ID: "b", OwnerID: "9", CreatorID: ""}}
	principals := []engine.Principal{{ID: "1", Kind: engine.User, Name: "ann@example.com", Active: new(true), Admin: new(false)}}
	db := newDB(t)
	digests := map[string]bool{}
	for _, status := range []engine.CoverageStatus{engine.Complete, engine.Partial, engine.Denied} {
		c := capture("prod", "1", now, tokens, principals)
		c.Sections[engine.SectionAccountPrincipals] = engine.Section{
			Coverage: engine.Coverage{Status: status},
			Document: json.RawMessage(`{"account_id":"x","principals":[{"id":"1","kind":"user","name":"other@example.com","active":false},{"id":"7","kind":"user","name":"bob@example.com","active":false}]}`),
		}
		s := mustSave(t, db, c)
		digests[s.Digest] = true
		bob, gone := &engine.AccountParty{Status: engine.AccountInactive, Kind: engine.User, Name: "bob@example.com"}, &engine.AccountParty{Status: engine.AccountMissing}
		switch status {
		case engine.Partial:
			gone = nil
		case engine.Denied:
			bob, gone = nil, nil
		}
		missing := func(id string, live int, account *engine.AccountParty) engine.Party {
			return engine.Party{ID: id, Kind: engine.Missing, Active: new(false), Admin: new(false), LiveTokens: live, Account: account}
		}
		ann := engine.Party{ID: "1", Kind: engine.User, Name: "ann@example.com", Active: new(true), Admin: new(false), LiveTokens: 1}
		want := [][2]engine.Party{{ann, missing("7", 0, bob)}, {missing("9", 1, gone), {}}}
		for i, subject := range collect(t, db.Subjects(t.Context(), s.ID, now, true)) {
			if diff := cmp.Diff(want[i], [2]engine.Party{subject.Owner, subject.Creator}); diff != "" {
				t.Errorf("%s, %s: %s", status, subject.Token.ID, diff)
			}
		}
	}
	if len(digests) != 3 {
		t.Error("the digest does not cover the section")
	}
}

func TestPartiesWithoutDirectory(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	mustSave(t, db, capture("prod", "1", now, population(3, 1, ""), directory(1)))
	c := capture("prod", "1", now, population(3, 1, ""), nil)
	c.Sections[engine.SectionPrincipals] = engine.Section{Coverage: engine.Coverage{Status: engine.Denied}}
	s := mustSave(t, db, c)
	for _, subject := range collect(t, db.Subjects(t.Context(), s.ID, now, true)) {
		if diff := cmp.Diff(engine.Party{ID: subject.Token.OwnerID, Listed: subject.Token.CreatorName}, subject.Owner); diff != "" {
			t.Fatal(diff)
		}
	}
	if got := collect(t, db.Principals(t.Context(), s.ID)); len(got) != 0 {
		t.Fatal(got)
	}
}

func TestReadersBreakOffAndAreInterrupted(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	s := mustSave(t, db, capture("prod", "1", now, population(2000, 10, ""), directory(10)))
	subjects := db.Subjects(t.Context(), s.ID, now, true)
	for range 10 {
		for range subjects {
			break
		}
		for range db.Principals(t.Context(), s.ID) {
			break
		}
	}
	if open := db.SQL.Stats().InUse; open != 0 {
		t.Fatalf("%d connections are still in use", open)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	seen := 0
	for _, err := range db.Subjects(ctx, s.ID, now, true) {
		if seen++; seen == 100 {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) || seen == 2000 {
		t.Fatal(seen, last)
	}
}

func TestOldSnapshotsStayWhileNewOnesCome(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	tokens := population(500, 10, "")
	var saved []engine.Snapshot
	for day := range 5 {
		churn(tokens, day)
		saved = append(saved, mustSave(t, db, capture("prod", "1", now.AddDate(0, 0, day), slices.Clone(tokens), directory(10-day))))
	}
	for _, s := range saved {
		must(t, db.VerifySnapshot(t.Context(), s.ID))
	}
}

func TestPartialDirectoryProvesNobodyMissing(t *testing.T) {
	t.Parallel()
	for status, want := range map[engine.CoverageStatus]engine.Kind{engine.Complete: engine.Missing, engine.Partial: ""} {
		db := newDB(t)
		c := capture("alpha", "1", now, population(1, 1, ""), nil)
		c.Sections[engine.SectionPrincipals] = engine.Section{Coverage: engine.Coverage{Status: status}}
		s := mustSave(t, db, c)
		for _, subject := range collect(t, db.Subjects(t.Context(), s.ID, now, true)) {
			if subject.Owner.Kind != want || (subject.Owner.Active == nil) != (want == "") {
				t.Errorf("%s: owner %+v", status, subject.Owner)
			}
		}
	}
}

func TestAheadKeepsOrderAndErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, n := range []int{0, 1, aheadRows - 1, aheadRows, 5*aheadRows + 1} {
		var got []int
		faults := 0
		for i, err := range ahead(func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
			yield(-1, broken)
		}) {
			if err != nil {
				faults++
				continue
			}
			got = append(got, i)
		}
		if len(got) != n || !slices.IsSorted(got) || faults != 1 {
			t.Errorf("%d rows: got %d, %d errors", n, len(got), faults)
		}
	}
}

// TestAheadEndsWithTheLoop has each loop leave early; the sequence must have
// been let go of by then, however far it was pulled.
func TestAheadEndsWithTheLoop(t *testing.T) {
	t.Parallel()
	for _, want := range []int{1, aheadRows, 3*aheadRows + 7} {
		ended, n := false, 0
		for range ahead(func(yield func(int, error) bool) {
			defer func() { ended = true }()
			for i := 0; yield(i, nil); i++ {
			}
		}) {
			if n++; n == want {
				break
			}
		}
		if !ended || n != want {
			t.Errorf("left after %d rows of %d: ended %t", n, want, ended)
		}
	}
}

// TestForecastIsSubjectsAtEachInstant reads tokens of few owners and comments once
// for many instants, and anew for each of them.
func TestForecastIsSubjectsAtEachInstant(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(enginetest.Seed(t), 5))
	for range 20 {
		db := newDB(t)
		tokens := mortals(random, 1+random.IntN(30))
		people := directory(3)
		for i := range people {
			people[i].ID = string('5' + rune(i))
		}
		mustSave(t, db, capture("prod", "1", now.AddDate(0, 0, -1), tokens[:len(tokens)/2], people))
		s := mustSave(t, db, capture("prod", "1", now, tokens, people[:2+random.IntN(2)]))
		var at []time.Time
		for hours := 0; len(at) < 12; hours += 1 + random.IntN(30) {
			at = append(at, now.Add(time.Duration(hours)*time.Hour))
		}
		futureTokens := collect(t, db.Forecast(t.Context(), s.ID, at, true))
		for n := range at {
			var got []engine.Subject
			for _, p := range futureTokens {
				subject, there := p(n)
				if !there {
					t.Fatal("a token is not there")
				}
				got = append(got, subject)
			}
			want := collect(t, db.Subjects(t.Context(), s.ID, at[n], true))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%v after: -want +got\n%s", at[n].Sub(now), diff)
			}
		}
	}
}

// mortals end within days of each other, or never; some dates are not known.
func mortals(random *rand.Rand, n int) []engine.Token {
	list := make([]engine.Token, n)
	for i := range list {
		owner := string('5' + rune(random.IntN(4)))
		list[i] = kin(fmt.Sprintf("%02d", i), owner, []string{"", "etl", "report"}[random.IntN(3)], hours(-1000-random.IntN(4)), hours(random.IntN(240)-20), hours(-random.IntN(3)*24))
		switch random.IntN(8) {
		case 0:
			list[i].Expires = new(engine.NeverExpires)
		case 1:
			list[i].Expires = nil
		case 2:
			list[i].Created = nil
		case 3:
			list[i].LastUsed = nil
		case 4:
			list[i].OwnerID = ""
		}
	}
	return list
}

func TestForecastWithoutTheOthers(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	s := mustSave(t, db, capture("prod", "1", now, population(3, 2, ""), directory(2)))
	for _, p := range collect(t, db.Forecast(t.Context(), s.ID, []time.Time{now}, false)) {
		if subject, _ := p(0); subject.Peers != nil || subject.Owner.LiveTokens == 0 {
			t.Errorf("%+v", subject)
		}
	}
}
