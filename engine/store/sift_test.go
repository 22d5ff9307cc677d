package store

import (
	"math/rand/v2"
	"slices"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"

	"github.com/google/go-cmp/cmp"
)

// awkwardSnapshot stores tokens with every field present, absent and at
// thresholds.
func awkwardSnapshot(t *testing.T, seed uint64, n int, principals engine.CoverageStatus) (*DB, engine.Snapshot, []engine.Subject) {
	t.Helper()
	tokens, directory := enginetest.Tokens(seed, n, now.UnixMilli()), enginetest.Principals()
	c := capture("prod", "1", now, tokens, directory)
	c.Sections[engine.SectionPrincipals] = engine.Section{Coverage: engine.Coverage{Status: principals}, Principals: directory}
	db := newDB(t)
	s := mustSave(t, db, c)
	return db, s, enginetest.Subjects(tokens, directory, principals == engine.Complete, now.UnixMilli())
}

// expected are facts as the engine derives them; nil where there is none.
func expected(s engine.Subject) map[engine.Fact]any {
	f := s.Facts
	return map[engine.Fact]any{
		"age_days": value(f.AgeDays), "lifetime_days": value(f.LifetimeDays), "idle_days": value(f.IdleDays),
		"expires_in_days": value(f.ExpiresInDays), "used": bitOf(f.Used), "never_expires": bitOf(f.NeverExpires),
		"expired": bitOf(f.Expired), "on_behalf": bitOf(f.OnBehalf), "created_ms": value(s.Token.Created),
		"last_used_ms": value(s.Token.LastUsed), "comment": s.Token.Comment,
		"owner.kind": string(s.Owner.Kind), "owner.name": s.Owner.Name, "owner.active": bitOf(s.Owner.Active),
		"owner.admin": bitOf(s.Owner.Admin), "owner.live_tokens": int64(s.Owner.LiveTokens), "creator.kind": string(s.Creator.Kind),
	}
}

func value(n *int64) any {
	if n == nil {
		return nil
	}
	return *n
}

func bitOf(b *bool) any {
	if b == nil {
		return nil
	}
	return bit(*b)
}

// SQL derives each fact as the engine does, bit for bit, wherever it is known.
func TestFactsInSQL(t *testing.T) {
	db, s, subjects := awkwardSnapshot(t, enginetest.Seed(t), 2000, engine.Complete)
	columns := factColumns()
	for name := range expected(subjects[0]) {
		column := columns[name]
		query := column.joins.tables() + "SELECT v.defects IS NOT NULL, " + column.sql + " FROM " + column.joins.from() + " WHERE " + holds + " AND ?3 > 0 ORDER BY v.token_id"
		i := 0
		for c, err := range scan(t.Context(), db.sql, query, s.ID, int64(1), now.UnixMilli()) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			disputed, got := c.boolean(), c.next()
			want := expected(subjects[i])[name]
			if !disputed && !doubted(column.doubt, subjects[i]) && !cmp.Equal(want, got) {
				t.Fatalf("%s of %+v is %v, want %v", name, subjects[i].Token, got, want)
			}
			i++
		}
		if i != len(subjects) {
			t.Fatalf("%s: %d rows", name, i)
		}
	}
}

// doubted: something that the fact rests on is not known.
func doubted(d doubt, s engine.Subject) bool {
	for reason, is := range map[doubt]bool{
		noCreation: s.Token.Created == nil, noExpiry: s.Token.Expires == nil, noOwner: s.Token.OwnerID == "", noCreator: s.Token.CreatorID == "",
		noCreatorName: s.Token.CreatorName == "", ownerUnknown: s.Owner.Kind == "", ownerActiveUnknown: s.Owner.Active == nil,
		creatorUnknown: s.Creator.Kind == "", creatorActiveUnknown: s.Creator.Active == nil,
	} {
		if d&reason != 0 && is {
			return true
		}
	}
	return false
}

// conditions makes conditions of every kind, at random.
type conditions struct{ *rand.Rand }

func choose[T any](c conditions, list ...T) T { return list[c.IntN(len(list))] }

func (c conditions) condition(depth int) engine.Condition {
	if depth > 0 && c.IntN(2) == 0 {
		var list []engine.Condition
		for range c.IntN(3) + 1 {
			list = append(list, c.condition(depth-1))
		}
		return choose[engine.Condition](c, engine.All(list), engine.Any(list), engine.Not{Of: list[0]})
	}
	number, text, truth := c.number(), c.text(), c.truth()
	return choose[engine.Condition](c,
		engine.Compare{Op: c.comparison(), Left: number, Right: engine.Constant{Of: choose(c, int64(0), int64(7), int64(30), int64(90), int64(365))}},
		engine.Compare{Op: c.comparison(), Left: number, Right: engine.Constant{Of: 89.5}},
		engine.Compare{Op: c.comparison(), Left: number, Right: c.number()},
		engine.Compare{Op: choose(c, engine.Equal, engine.NotEqual), Left: truth, Right: engine.Constant{Of: c.IntN(2) == 0}},
		engine.Compare{Op: c.comparison(), Left: text, Right: engine.Constant{Of: choose(c, "", "tmp", "user", "n", "a'b\"c%_", "1")}},
		engine.Compare{Op: c.comparison(), Left: text, Right: c.text()},
		engine.In{Value: text, List: []engine.Constant{{Of: "user"}, {Of: "missing"}, {Of: "tmp"}}},
		engine.In{Value: number, List: []engine.Constant{{Of: int64(90)}, {Of: int64(0)}}},
		engine.Known{Fact: choose[engine.Fact](c, number, text, truth, "expires_at", "last_used_at", "scopes")},
		engine.Compare{Op: choose(c, engine.Equal, engine.Greater), Left: engine.Call{Function: engine.Count, Args: []engine.Value{engine.Fact("scopes")}}, Right: engine.Constant{Of: int64(0)}},
		engine.Test{Function: engine.Matches, Args: []engine.Value{text, engine.Constant{Of: "^tmp"}}},
		engine.Compare{Op: engine.Equal, Left: engine.Call{Function: engine.Lower, Args: []engine.Value{text}}, Right: engine.Constant{Of: "tmp"}},
	)
}

func (c conditions) number() engine.Fact {
	return choose[engine.Fact](c, "age_days", "lifetime_days", "idle_days", "expires_in_days", "owner.live_tokens", "created_ms", "expires_ms", "creator.live_tokens")
}

func (c conditions) text() engine.Fact {
	return choose[engine.Fact](c, "comment", "owner.kind", "owner.name", "creator.kind", "owner_id", "creator_id", "creator_name", "autoscope_state", "owner.display_name")
}

func (c conditions) truth() engine.Fact {
	return choose[engine.Fact](c, "used", "never_expires", "expired", "on_behalf", "owner.active", "owner.admin", "creator.active")
}

func (c conditions) comparison() engine.Comparison {
	return choose(c, engine.Equal, engine.NotEqual, engine.Less, engine.LessOrEqual, engine.Greater, engine.GreaterOrEqual)
}

// factsOf lists what a condition looks at.
func factsOf(c engine.Condition) (facts []engine.Fact) {
	switch c := c.(type) {
	case engine.All:
		for _, one := range c {
			facts = append(facts, factsOf(one)...)
		}
	case engine.Any:
		for _, one := range c {
			facts = append(facts, factsOf(one)...)
		}
	case engine.Not:
		return factsOf(c.Of)
	case engine.Known:
		return []engine.Fact{c.Fact}
	case engine.Compare:
		return append(factIn(c.Left), factIn(c.Right)...)
	case engine.In:
		return factIn(c.Value)
	case engine.Test:
		return factIn(c.Args[0])
	}
	return facts
}

func factIn(v engine.Value) []engine.Fact {
	switch v := v.(type) {
	case engine.Fact:
		return []engine.Fact{v}
	case engine.Call:
		return factIn(v.Args[0])
	}
	return nil
}

// What SQL spares is what the conditions, asked in Go, do not hold for; what it
// asks exactly is exactly the rest.
func TestSiftSparesNothingThatMatters(t *testing.T) {
	seed := enginetest.Seed(t)
	c := conditions{rand.New(rand.NewPCG(seed, 3))}
	spared := 0
	for _, status := range []engine.CoverageStatus{engine.Complete, engine.Partial} {
		db, s, subjects := awkwardSnapshot(t, seed, 400, status)
		for range 150 {
			rules := make([]engine.SiftRule, c.IntN(3)+1)
			for i := range rules {
				fires := c.condition(3)
				rules[i] = engine.SiftRule{Judges: choose(c, engine.JudgesLive, engine.JudgesExpired, engine.JudgesAll), Fires: fires, Facts: factsOf(fires)}
			}
			sifted, err := db.Sift(t.Context(), s.ID, now, engine.SiftRequest{Rules: rules})
			if err != nil {
				t.Fatalf("%v\n%+v", err, rules)
			}
			left := map[string]bool{}
			for _, subject := range collect(t, sifted.Tokens) {
				left[subject.Token.ID] = true
			}
			if sifted.Spared != nil {
				spared += len(subjects) - len(left)
				checkSpared(t, *sifted.Spared, subjects)
			}
			for _, subject := range subjects {
				if !left[subject.Token.ID] && wanted(subject, rules) {
					t.Fatalf("spared %+v\nof owner %+v\nby %+v\nSQL %s", subject.Token, subject.Owner, rules, newSiftQuery(rules, directoryOf(s)).text())
				}
			}
		}
	}
	if spared < 10_000 {
		t.Errorf("only %d tokens were spared", spared)
	}
}

func checkSpared(t *testing.T, got engine.Spared, subjects []engine.Subject) {
	t.Helper()
	want := engine.Spared{Total: len(subjects)}
	for _, s := range subjects {
		if s.Facts.Expired != nil && *s.Facts.Expired {
			want.Expired++
		}
	}
	if got != want {
		t.Fatalf("counted %+v, want %+v", got, want)
	}
}

// wanted: a rule holds for the token, or looks at what is not known of it.
func wanted(s engine.Subject, rules []engine.SiftRule) bool {
	columns := factColumns()
	return slices.ContainsFunc(rules, func(r engine.SiftRule) bool {
		expired := s.Facts.Expired != nil && *s.Facts.Expired
		if r.Judges == engine.JudgesLive && expired || r.Judges == engine.JudgesExpired && !expired {
			return false
		}
		doubtful := len(s.Token.Defects) > 0 || slices.ContainsFunc(r.Facts, func(f engine.Fact) bool { return doubted(columns[f].doubt, s) })
		holds, _ := engine.Predicate(r.Fires, now.UnixMilli())
		return doubtful || holds(&s)
	})
}

// A rule that wants each token makes asking useless; so do rows that were not read.
func TestSiftReadsAllWhereAskingIsUseless(t *testing.T) {
	db, s, subjects := awkwardSnapshot(t, 1, 50, engine.Complete)
	all := engine.SiftRequest{Rules: []engine.SiftRule{{Policy: "A", Fires: engine.All{}}, {Policy: "B", Fires: engine.Any{}}}}
	for _, r := range []engine.SiftRequest{{}, all, {Rules: all.Rules[1:], Among: true}} {
		sifted, err := db.Sift(t.Context(), s.ID, now, r)
		if err != nil {
			t.Fatal(err)
		}
		got := collect(t, sifted.Tokens)
		if len(got) != len(subjects) || sifted.Spared != nil || (got[0].Among != nil) != r.Among || got[0].Token.Raw != nil {
			t.Errorf("%+v: %d tokens, spared %v, first %+v", r, len(got), sifted.Spared, got[0])
		}
	}
	none, err := db.Sift(t.Context(), s.ID, now, engine.SiftRequest{Rules: all.Rules[1:]})
	if err != nil {
		t.Fatal(err)
	}
	if got := collect(t, none.Tokens); len(got) == 0 || len(got) == len(subjects) || none.Spared == nil {
		t.Errorf("a rule that never fires reads %d tokens: only those in dispute", len(got))
	}
}

// What --sql shows is the text that is asked, with its constants in it.
func TestSiftSQL(t *testing.T) {
	old := engine.SiftRule{Judges: engine.JudgesLive, Facts: []engine.Fact{"age_days", "owner.kind"}, Fires: engine.All{
		engine.Compare{Op: engine.Greater, Left: engine.Fact("age_days"), Right: engine.Constant{Of: int64(90)}},
		engine.In{Value: engine.Fact("owner.kind"), List: []engine.Constant{{Of: "user's"}}},
	}}
	where, why := SiftSQL(old)
	want := `v.defects IS NOT NULL
OR ((v.expires_ms IS NULL OR v.expires_ms = -1 OR v.expires_ms > ?3) AND (((?3 - v.created_ms) / 86400000 - ((?3 - v.created_ms) % 86400000 < 0)) > 90 AND coalesce(o.kind, 'missing') IN ('user''s')))
OR v.created_ms IS NULL
OR v.owner_id = '' OR o.kind = ''`
	if diff := cmp.Diff(want, where); diff != "" || why != "" {
		t.Errorf("%s\n%s", why, diff)
	}
	if _, why := SiftSQL(engine.SiftRule{Fires: engine.Test{Function: engine.Matches}}); why == "" {
		t.Error("a regular expression is not asked in SQL")
	}
}
