package plan_test

import (
	"fmt"
	"testing"

	"patrol/engine"
	"patrol/engine/plan"
	"patrol/engine/remedy"
)

// limited is a plan that revokes n of 100 tokens of one owner, none used lately.
func limited(t *testing.T, n int, limits engine.Limits) engine.Plan {
	e := newEstate()
	e.fill("1", 100-n)
	for i := range n {
		id := fmt.Sprintf("t%d", i)
		e.token("1", id, "11", 120)
		e.fail("PAT-004", "1", id)
	}
	in := e.input()
	in.Config.Limits = limits
	return build(t, in)
}

func every(string) bool { return true }

// open leaves one limit to test.
func open(change func(*engine.Limits)) engine.Limits {
	l := engine.Limits{MaxSteps: 1000, MaxPercent: 100, MaxPerOwner: 1000, MaxRecentlyUsed: 1000, RecentlyUsedDays: 7}
	change(&l)
	return l
}

func TestLimits(t *testing.T) {
	t.Parallel()
	const n = 10 // of 100 tokens
	steps := func(most int) engine.Limits { return open(func(l *engine.Limits) { l.MaxSteps = most }) }
	owner := func(most int) engine.Limits { return open(func(l *engine.Limits) { l.MaxPerOwner = most }) }
	percent := func(most float64) engine.Limits { return open(func(l *engine.Limits) { l.MaxPercent = most }) }
	for _, tc := range []struct {
		name   string
		limits engine.Limits
		ok     bool
	}{
		{"steps 0", steps(0), false}, {"steps 1", steps(1), false}, {"steps n-1", steps(n - 1), false}, {"steps n", steps(n), true}, {"steps n+1", steps(n + 1), true},
		{"owner 0", owner(0), false}, {"owner n-1", owner(n - 1), false}, {"owner n", owner(n), true},
		{"percent 0", percent(0), false}, {"percent below", percent(9.99), false}, {"percent exactly", percent(10), true}, {"percent 100", percent(100), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := plan.CheckLimits(limited(t, n, tc.limits), every)
			if tc.ok && err != nil {
				t.Fatal(err)
			}
			if !tc.ok {
				refusal(t, err, "over_limits")
			}
		})
	}
}

func TestZeroMeansZeroOnlyForSteps(t *testing.T) {
	t.Parallel()
	zero := engine.Limits{}
	if err := plan.CheckLimits(limited(t, 0, zero), every); err != nil {
		t.Errorf("nothing to do goes beyond no limit: %v", err)
	}
	p := limited(t, 1, zero)
	if err := plan.CheckLimits(p, func(string) bool { return false }); err != nil {
		t.Errorf("no approved step goes beyond no limit: %v", err)
	}
	refusal(t, plan.CheckLimits(p, every), "over_limits")
}

func TestRecentlyUsed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		idle   int64
		policy string
		ok     bool
	}{
		{0, "PAT-004", false}, {7, "PAT-004", false}, {8, "PAT-004", true}, {-1, "PAT-004", true},
		{0, "PAT-014", false}, // narrowing can break
		{0, "PAT-021", true},  // a comment cannot
		{0, "PAT-009", true},  // a notice neither
	} {
		e := newEstate()
		e.fill("1", 99)
		e.token("1", "t", "11", tc.idle, observed("", []string{"sql"}, nil))
		e.fail(tc.policy, "1", "t")
		err := plan.CheckLimits(build(t, e.input()), every)
		if tc.ok && err != nil {
			t.Errorf("%s, used %d days ago: %v", tc.policy, tc.idle, err)
		}
		if !tc.ok {
			refusal(t, err, "over_limits")
		}
	}
}

func TestPercentIsOfEachWorkspace(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.workspace("2", "dev")
	e.fill("1", 1000)
	e.fill("2", 4)
	e.token("2", "t", "11", 120)
	e.fail("PAT-004", "2", "t")
	refusal(t, plan.CheckLimits(build(t, e.input()), every), "over_limits")
}

// TestAShareOfNothingIsAll: a plan that does not say how many tokens a workspace
// has must not pass for that.
func TestAShareOfNothingIsAll(t *testing.T) {
	t.Parallel()
	p := engine.Plan{
		Limits:     engine.Limits{MaxSteps: 9, MaxPercent: 99, MaxPerOwner: 9, MaxRecentlyUsed: 9},
		Workspaces: []engine.PlanWorkspace{{ID: "1", Name: "prod"}},
		Steps:      []engine.Step{{ID: "s1", Action: engine.Revoke, WorkspaceID: "1", Target: "t"}},
	}
	if got := remedy.Exceeds(p, every); len(got) != 1 || got[0].Limit != "max_percent" || got[0].Got != 100 {
		t.Errorf("got %v", got)
	}
}

// TestEndangeredTokensCount against every limit, and against one of their own
// that is zero unless somebody raises it.
func TestEndangeredTokensCount(t *testing.T) {
	t.Parallel()
	e := newEstate()
	for i := range 20 {
		e.token("1", fmt.Sprintf("idle%d", i), "11", 100)
	}
	for i := range 5 {
		e.token("1", fmt.Sprintf("busy%d", i), fmt.Sprint(20+i), 2)
	}
	e.fail("WS-003", "1", "1")
	most := engine.Limits{MaxSteps: 26, MaxPercent: 100, MaxPerOwner: 20, MaxRecentlyUsed: 5, RecentlyUsedDays: 7, MaxEndangered: 25}
	for name, tc := range map[string]struct {
		change func(*engine.Limits)
		limit  string
	}{
		"enough":    {func(*engine.Limits) {}, ""},
		"steps":     {func(l *engine.Limits) { l.MaxSteps = 25 }, "max_steps"},
		"percent":   {func(l *engine.Limits) { l.MaxPercent = 99 }, "max_percent"},
		"owner":     {func(l *engine.Limits) { l.MaxPerOwner = 19 }, "max_per_owner"},
		"recent":    {func(l *engine.Limits) { l.MaxRecentlyUsed = 4 }, "max_recently_used"},
		"of itself": {func(l *engine.Limits) { l.MaxEndangered = 24 }, "max_endangered"},
		"default":   {func(l *engine.Limits) { l.MaxEndangered = engine.DefaultLimits().MaxEndangered }, "max_endangered"},
	} {
		in := e.input()
		in.Config.Limits = most
		tc.change(&in.Config.Limits)
		p := build(t, in)
		var got []string
		for _, excess := range remedy.Exceeds(p, every) {
			got = append(got, excess.Limit)
		}
		want := []string{}
		if tc.limit != "" {
			want = append(want, tc.limit)
		}
		equal(t, name, got, want)
		if risk := p.Steps[0].Risk; remedy.Disables(risk, 7) != "25 live tokens of 6 owners, 5 used within 7 days" || !p.Steps[0].Critical {
			t.Errorf("%s: %+v", name, risk)
		}
	}
}

// TestNarrowingSaysWhatIsKnownOfUse, and no more. What takes a scope in use
// endangers the token.
func TestNarrowingSaysWhatIsKnownOfUse(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		inferred   []string
		why        string
		endangered int
	}{
		"not told":    {nil, "the platform does not tell which scopes it uses", 0},
		"kept":        {[]string{"sql"}, "keeps the scopes that the platform saw in use", 0},
		"lost in use": {[]string{"sql", "authentication"}, "loses authentication, which the platform saw in use", 1},
	} {
		e := newEstate()
		e.fill("1", 50)
		e.token("1", "n", "12", 3, scoped("sql", "authentication"), func(s *engine.Subject) { s.Token.InferredScopes = tc.inferred })
		e.fail("PAT-013", "1", "n")
		p := build(t, e.input())
		risk := p.Steps[0].Risk
		if risk.Why != tc.why+"; used 3 days ago" || risk.Endangers != tc.endangered || p.Steps[0].Critical != (tc.endangered > 0) {
			t.Errorf("%s: %+v", name, risk)
		}
	}
}
