package exceptions

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func failed(policy, token, owner string) engine.Finding {
	return engine.Finding{
		Policy: policy, Severity: engine.High, Status: engine.Fail, Workspace: "prod-eu", WorkspaceID: "1234567890123456",
		Resource: engine.ResourceToken, ResourceID: token, Owner: owner, OwnerID: "700",
	}
}

func allow(engine.WaiverRule, engine.Finding) []engine.WaiverRefusal { return nil }

func deny(engine.WaiverRule, engine.Finding) []engine.WaiverRefusal {
	return []engine.WaiverRefusal{{Policy: "WV-001", Message: "no"}}
}

var inForce = day("2026-12-01")

func TestExceptMatches(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		changes []string
		want    bool
	}{
		"token glob":             {nil, true},
		"token in full":          {[]string{"token: 3922B2F6aa"}, true},
		"part of a token":        {[]string{"token: 3922b2f6"}, false},
		"another token":          {[]string{"token: 4*"}, false},
		"another policy":         {[]string{"policy: PAT-001"}, false},
		"one of several":         {[]string{"policy: [PAT-001, PAT-016]"}, true},
		"any workspace":          {[]string{"-workspace"}, true},
		"workspace id":           {[]string{"workspace: 1234567890123456"}, true},
		"workspace letter case":  {[]string{"workspace: PROD-??"}, true},
		"another workspace":      {[]string{"workspace: prod"}, false},
		"owner glob":             {[]string{"-token", `owner: "etl-*@example.com"`}, true},
		"owner in full":          {[]string{"-token", "owner: ETL-7@example.com"}, true},
		"owner id":               {[]string{"-token", "owner: 700"}, true},
		"owner id glob":          {[]string{"-token", `owner: "7?0"`}, true},
		"another owner":          {[]string{"-token", "owner: ann@example.com"}, false},
		"first day":              {[]string{"created: 2026-12-01"}, true},
		"day before the first":   {[]string{"created: 2026-12-02"}, false},
		"last day":               {[]string{"expires: 2026-12-01"}, true},
		"day after the last":     {[]string{"expires: 2026-11-30"}, false},
		"workspace policy":       {[]string{"policy: WS-001", "-token"}, false},
		"every token, said so":   {[]string{`token: "*"`}, true},
		"brackets are no class":  {[]string{`token: "[0-9]*"`}, false},
		"comment as an owner":    {[]string{"-token", "owner: nightly"}, false},
		"question needs a digit": {[]string{"token: 3922b2f6aa?"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewWaiverMatcher(rules(t, entryWith(c.changes...)), inForce)
			got := m.Except(failed("PAT-016", "3922b2f6aa", "etl-7@example.com"), allow)
			if (got.Status == engine.Waived) != c.want || (got.Waiver != nil) != c.want {
				t.Errorf("%s, %+v", got.Status, got.Waiver)
			}
		})
	}
}

func TestExceptOnlyFailed(t *testing.T) {
	t.Parallel()
	m := NewWaiverMatcher(rules(t, entryWith(`token: "*"`)), inForce)
	for _, status := range engine.Statuses() {
		f := failed("PAT-016", "a", "b")
		f.Status = status
		got := m.Except(f, allow)
		if want := map[bool]engine.Status{true: engine.Waived, false: status}[status == engine.Fail]; got.Status != want {
			t.Errorf("%s became %s", status, got.Status)
		}
	}
}

func TestExceptUnknownOwner(t *testing.T) {
	t.Parallel()
	m := NewWaiverMatcher(rules(t, entryWith("-token", `owner: "*"`)), inForce)
	f := failed("PAT-016", "a", "")
	f.OwnerID = ""
	if got := m.Except(f, allow); got.Status != engine.Fail {
		t.Error("an owner that is not known is not any owner")
	}
}

func TestExceptSecret(t *testing.T) {
	t.Parallel()
	m := NewWaiverMatcher(rules(t, entryWith("policy: SP-001", "-token", "secret: 1F*")), inForce)
	f := failed("SP-001", "1f9", "5e-app")
	f.Resource = engine.ResourceSecret
	if got := m.Except(f, allow); got.Status != engine.Waived {
		t.Error(got.Status)
	}
}

func TestExceptWorkspace(t *testing.T) {
	t.Parallel()
	m := NewWaiverMatcher(rules(t, entryWith("policy: WS-001", "-token")), inForce)
	f := engine.Finding{Policy: "WS-001", Status: engine.Fail, Workspace: "prod-eu", WorkspaceID: "1", Resource: engine.ResourceWorkspace, ResourceID: "1"}
	got := m.Except(f, allow)
	want := &engine.Waiver{ID: "W-1", Reason: "Partner connector cannot use OAuth before Q2.", Ticket: "OPS-1234", Approver: "security.lead@example.com", Expires: "2027-02-01"}
	if diff := cmp.Diff(want, got.Waiver); diff != "" {
		t.Error(diff)
	}
}

// TestExceptOrder: the first of the file counts, an index notwithstanding; a
// refused one makes way for the next.
func TestExceptOrder(t *testing.T) {
	t.Parallel()
	text := entryWith("id: glob", `token: "39*"`)
	for _, more := range [][]string{{"id: exact", "token: 3922"}, {"id: owner", "-token", "owner: ann"}, {"id: owner-id", "-token", "owner: 700"}} {
		text += strings.TrimPrefix(entryWith(more...), "waivers:\n")
	}
	list := rules(t, text)
	for skip, want := range []string{"glob", "exact", "owner", "owner-id", ""} {
		m := NewWaiverMatcher(list, inForce)
		tried := 0
		got := m.Except(failed("PAT-016", "3922", "ann"), func(engine.WaiverRule, engine.Finding) []engine.WaiverRefusal {
			if tried++; tried <= skip {
				return deny(engine.WaiverRule{}, engine.Finding{})
			}
			return nil
		})
		id := ""
		if got.Waiver != nil {
			id = got.Waiver.ID
		}
		if id != want {
			t.Errorf("after %d refusals: %q, want %q", skip, id, want)
		}
	}
}

func TestUses(t *testing.T) {
	t.Parallel()
	complete := engine.Snapshot{
		Workspace: engine.Workspace{ID: "1", Name: "prod-eu"},
		Coverage:  map[engine.SectionName]engine.Coverage{engine.SectionTokens: {Status: engine.Complete}},
	}
	partial := complete
	partial.Coverage = map[engine.SectionName]engine.Coverage{engine.SectionTokens: {Status: engine.Partial}}
	elsewhere := complete
	elsewhere.Workspace = engine.Workspace{ID: "2", Name: "dev"}
	whole := map[string]engine.Tally{"PAT-016": {engine.Pass: 3}}
	hit, miss := failed("PAT-016", "3922b2f6aa", "a"), failed("PAT-016", "ff", "a")
	refusal := []engine.WaiverRefusal{{Policy: "WV-001", Message: "no", Findings: 1}}
	for name, c := range map[string]struct {
		changes  []string
		finding  engine.Finding
		judge    Judge
		snapshot engine.Snapshot
		tallies  map[string]engine.Tally
		want     engine.WaiverUse // without the rule
	}{
		"in force":              {nil, hit, allow, complete, whole, engine.WaiverUse{State: engine.WaiverInForce, DaysLeft: 62, Waived: 1}},
		"14 days left":          {[]string{"expires: 2026-12-15"}, hit, allow, complete, whole, engine.WaiverUse{State: engine.WaiverInForce, DaysLeft: 14, ExpiresSoon: true, Waived: 1}},
		"15 days left":          {[]string{"expires: 2026-12-16"}, hit, allow, complete, whole, engine.WaiverUse{State: engine.WaiverInForce, DaysLeft: 15, Waived: 1}},
		"last day":              {[]string{"expires: 2026-12-01"}, hit, allow, complete, whole, engine.WaiverUse{State: engine.WaiverInForce, ExpiresSoon: true, Waived: 1}},
		"expired, would match":  {[]string{"expires: 2026-11-30"}, hit, allow, complete, whole, engine.WaiverUse{State: engine.WaiverExpired, DaysLeft: -1, Lapsed: 1}},
		"expired, no match":     {[]string{"expires: 2026-11-30"}, miss, allow, complete, whole, engine.WaiverUse{State: engine.WaiverExpired, DaysLeft: -1}},
		"to come":               {[]string{"created: 2026-12-02"}, hit, allow, complete, whole, engine.WaiverUse{State: engine.WaiverPending, DaysLeft: 62}},
		"refused":               {[]string{"expires: 2026-12-02"}, hit, deny, complete, whole, engine.WaiverUse{State: engine.WaiverRefused, DaysLeft: 1, Refusals: refusal}},
		"unmatched":             {nil, miss, allow, complete, whole, engine.WaiverUse{State: engine.WaiverUnmatched, DaysLeft: 62}},
		"policy not run":        {nil, miss, allow, complete, nil, engine.WaiverUse{State: engine.WaiverNotJudged, DaysLeft: 62}},
		"workspace not judged":  {nil, miss, allow, elsewhere, whole, engine.WaiverUse{State: engine.WaiverNotJudged, DaysLeft: 62}},
		"tokens partly read":    {nil, miss, allow, partial, whole, engine.WaiverUse{State: engine.WaiverNotJudged, DaysLeft: 62}},
		"some results unknown":  {nil, miss, allow, complete, map[string]engine.Tally{"PAT-016": {engine.Unknown: 1}}, engine.WaiverUse{State: engine.WaiverNotJudged, DaysLeft: 62}},
		"some results an error": {nil, miss, allow, complete, map[string]engine.Tally{"PAT-016": {engine.Errored: 1}}, engine.WaiverUse{State: engine.WaiverNotJudged, DaysLeft: 62}},
	} {
		t.Run(name, func(t *testing.T) {
			list := rules(t, entryWith(c.changes...))
			m := NewWaiverMatcher(list, inForce)
			m.Except(c.finding, c.judge)
			m.Judged(c.snapshot, c.tallies)
			c.want.WaiverRule = list[0]
			if diff := cmp.Diff([]engine.WaiverUse{c.want}, m.Uses()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestGlob compares with the regular expression of the same meaning.
func TestGlob(t *testing.T) {
	enginetest.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.SampledFrom([]rune("ab*?é[.")), 0, 8, -1).Draw(t, "pattern")
		text := rapid.StringOfN(rapid.SampledFrom([]rune("abé[.")), 0, 10, -1).Draw(t, "text")
		quoted := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
		g := engine.NewGlob(pattern)
		if got, want := g.Matches(text), regexp.MustCompile("^"+quoted+"$").MatchString(text); got != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern, text, got, want)
		}
	})
}

// BenchmarkExcept: each finding against 500 waivers of its policy.
func BenchmarkExcept(b *testing.B) {
	for _, pattern := range []string{"owner: etl-%d@example.com", `owner: "etl-%d-*@example.com"`, `owner: "*-%d"`, `token: "%d*"`} {
		b.Run(strings.TrimSpace(pattern), func(b *testing.B) {
			list := make([]engine.WaiverRule, 500)
			for i := range list {
				key, glob, _ := strings.Cut(fmt.Sprintf(pattern, i), ": ")
				list[i] = engine.WaiverRule{ID: fmt.Sprint(i), Policies: []string{"PAT-016"}, Created: inForce, Expires: inForce}
				if glob = strings.Trim(glob, `"`); key == "owner" {
					list[i].Owner = glob
				} else {
					list[i].Token = glob
				}
			}
			m := NewWaiverMatcher(list, inForce)
			f := failed("PAT-016", strings.Repeat("a", 64), "etl-499-x@example.com")
			for b.Loop() {
				m.Except(f, allow)
			}
		})
	}
}
