package store

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"patrol/engine"
	"patrol/engine/enginetest"
)

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
