package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"

	"github.com/google/go-cmp/cmp"
)

// history is a workspace that is audited day by day.
type history struct {
	t   *testing.T
	db  *DB
	day int
}

// at is noon of a day.
func at(day int) time.Time { return now.Add(time.Duration(day) * 24 * time.Hour) }

func trendPolicies() []engine.Policy {
	return []engine.Policy{
		{ID: "A", Severity: engine.High, Resource: engine.ResourceToken},
		{ID: "B", Severity: engine.Low, Resource: engine.ResourceToken},
	}
}

// result is a finding to be, "A1" for the first token and the policy A, and its
// status.
type result struct {
	on     string
	status engine.Status
}

func failing(names ...string) []result {
	var list []result
	for _, name := range names {
		list = append(list, result{name, engine.Fail})
	}
	return list
}

// audit takes the next day's snapshot and judges it.
func (h *history) audit(results ...result) (evaluation, snapshot int64) {
	h.day++
	s := mustSave(h.t, h.db, capture("alpha", "1", at(h.day), population(5, 2, ""), directory(2)))
	return h.judge(s.ID, EvaluationHeader{}, results...), s.ID
}

// judge judges a snapshot; policies of the header are those that ran.
func (h *history) judge(snapshot int64, header EvaluationHeader, results ...result) int64 {
	h.t.Helper()
	s, err := h.db.Snapshot(h.t.Context(), snapshot)
	must(h.t, err)
	header.AsOf, header.Snapshots = s.CollectedAt, []int64{snapshot}
	if header.Policies == nil {
		header.Policies = trendPolicies()
	}
	e, err := h.db.BeginEvaluation(h.t.Context(), header)
	must(h.t, err)
	defer e.Rollback()
	for _, p := range header.Policies {
		must(h.t, e.Tally(snapshot, p.ID, tallyOf(p, results)))
	}
	for _, r := range results {
		must(h.t, e.Add(trendFinding(r), snapshot))
	}
	id, err := e.Commit()
	must(h.t, err)
	return id
}

// tallyOf counts results as an evaluation does: other tokens pass, unless
// nothing in the workspace could be judged.
func tallyOf(p engine.Policy, results []result) engine.Tally {
	tally := engine.Tally{engine.Pass: 1}
	for _, r := range results {
		switch {
		case r.on[:1] != p.ID:
		case r.on[1:] == "*":
			return engine.Tally{r.status: 1}
		default:
			tally[r.status]++
		}
	}
	return tally
}

func trendFinding(r result) engine.Finding {
	policy := trendPolicies()[strings.IndexByte("AB", r.on[0])]
	f := engine.Finding{
		Policy: policy.ID, Severity: policy.Severity, Status: r.status, Workspace: "alpha", WorkspaceID: "1",
		Resource: engine.ResourceToken, ResourceID: tokenID(int(r.on[1] - '0')), Evidence: map[string]any{}, Fingerprint: fmt.Sprintf("%032x", r.on),
	}
	if r.on[1:] == "*" {
		f.Resource, f.ResourceID = engine.ResourceWorkspace, "1"
	}
	return f
}

func (h *history) trend(evaluation int64) *engine.Trend {
	h.t.Helper()
	r, err := h.db.Report(h.t.Context(), evaluation)
	must(h.t, err)
	return r.Trend
}

// changes shows a trend's counts on a line.
func changes(t *engine.Trend) string {
	var parts []string
	for _, c := range engine.Changes() {
		if n := t.Count(c); n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", c, n))
		}
	}
	return strings.Join(parts, ", ")
}

func TestTrend(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	for _, test := range []struct {
		name        string
		before, now []result
		want        string
	}{
		{"nothing at all", nil, nil, ""},
		{"new and open", failing("A1"), failing("A1", "A2", "B1"), "new 2, open 1"},
		{"fixed", failing("A1", "B1"), failing("B1"), "open 1, fixed 1"},
		{"waiver ran out", []result{{"A1", engine.Waived}}, failing("A1"), "worse 1"},
		{"waived", failing("A1"), []result{{"A1", engine.Waived}}, "excused 1"},
		{"lost one", failing("A1"), []result{{"A1", engine.Unknown}}, "unjudged 1"},
		{"lost sight of the workspace", failing("A1", "A2", "B1"), []result{{"A*", engine.Unknown}}, "unjudged 2, fixed 1"},
		{"saw the workspace again", []result{{"A*", engine.Unknown}}, failing("A1"), "unknown_before 1"},
		{"saw one again", []result{{"A1", engine.Errored}}, failing("A1", "A2"), "new 1, unknown_before 1"},
	} {
		h := &history{t: t, db: newDB(t)}
		first, _ := h.audit(test.before...)
		second, _ := h.audit(test.now...)
		if h.trend(first) != nil {
			t.Errorf("%s: the first audit has a trend", test.name)
		}
		if got := h.trend(second); changes(got) != test.want || !got.Since.Equal(at(1)) || got.Workspaces != 1 {
			t.Errorf("%s: %s since %s, want %s", test.name, changes(got), got.Since, test.want)
		}
	}
}

// TestTrendNames the worst of what is new, in the order of reports.
func TestTrendNames(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	h.audit(failing("B2")...)
	id, _ := h.audit(failing("B1", "A3", "A1", "B2")...)
	var got []string
	for _, f := range h.trend(id).New {
		got = append(got, f.Policy+" "+f.ResourceID[:6])
	}
	want := []string{"A " + tokenID(1)[:6], "A " + tokenID(3)[:6], "B " + tokenID(1)[:6]}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestTrendIsStable: what somebody tries on a snapshot changes neither the
// reports before nor those after.
func TestTrendIsStable(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	first, snapshot := h.audit(failing("A1")...)
	second, later := h.audit(failing("A1", "A2")...)
	want := h.trend(second)
	h.judge(snapshot, EvaluationHeader{}, failing("A2", "B1", "B2")...)
	again := h.judge(later, EvaluationHeader{}, failing("A1", "A2")...)
	for _, id := range []int64{second, again} {
		if diff := cmp.Diff(want, h.trend(id)); diff != "" {
			t.Errorf("evaluation %d (-want +got):\n%s", id, diff)
		}
	}
	if h.trend(first) != nil {
		t.Error("the first snapshot has one before it")
	}
}

// TestTrendOfSomePolicies leaves out what one of both evaluations did not judge.
func TestTrendOfSomePolicies(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	_, snapshot := h.audit(failing("A1", "B1")...)
	h.judge(snapshot, EvaluationHeader{Narrowed: true, Policies: trendPolicies()[:1]}, failing("A1")...)
	h.day++
	s := mustSave(t, h.db, capture("alpha", "1", at(h.day), population(5, 2, ""), directory(2)))
	onlyB := h.judge(s.ID, EvaluationHeader{Narrowed: true, Policies: trendPolicies()[1:]}, failing("B1", "B2")...)
	if got := changes(h.trend(onlyB)); got != "new 1, open 1" {
		t.Errorf("only B: %s", got)
	}
	next, _ := h.audit(failing("A9", "B1")...)
	if got := changes(h.trend(next)); got != "new 1, open 1, fixed 2" {
		t.Errorf("compared with B alone, and with A before: %s", got)
	}
}

func TestTimeToFix(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	h.audit(failing("A1", "A2", "B1")...) // day 1
	h.audit(failing("A1")...)             // day 2
	h.audit(failing("A1", "A2")...)       // day 3: A2 is back
	h.audit(failing("A1", "A2", "B1")...) // day 4
	id, _ := h.audit()                    // day 5
	want := map[engine.Severity]engine.Fix{
		engine.High: {Count: 2, Mean: 3 * 24 * time.Hour}, // since day 1, and since day 3
		engine.Low:  {Count: 1, Mean: 24 * time.Hour},
	}
	if diff := cmp.Diff(want, h.trend(id).Fixes); diff != "" {
		t.Error(diff)
	}
}

// TestTrendLooksPastGaps: what could not be judged at the snapshot before is
// compared with the last verdict, however long ago that was.
func TestTrendLooksPastGaps(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	h.audit(append(failing("A1", "A2", "A3", "B1"), result{"A4", engine.Waived})...)
	denied := []result{{"A*", engine.Unknown}, {"B1", engine.Fail}}
	second, _ := h.audit(denied...)
	third, _ := h.audit(denied...)
	for _, id := range []int64{second, third} {
		if got := changes(h.trend(id)); got != "open 1, unjudged 3" {
			t.Errorf("evaluation %d: %s", id, got)
		}
	}
	if got := h.trend(third); !got.Since.Equal(at(2)) || !got.Earliest.Equal(at(1)) {
		t.Errorf("the third compares with %s and %s", got.Since, got.Earliest)
	}
	if got := h.trend(second); !got.Earliest.IsZero() {
		t.Errorf("the second looks past the one before, to %s", got.Earliest)
	}
	back, _ := h.audit(failing("A1", "A4", "A9", "B1")...)
	got := h.trend(back)
	if changes(got) != "new 1, worse 1, open 2, fixed 2" || !got.Since.Equal(at(3)) || !got.Earliest.Equal(at(1)) {
		t.Errorf("after the gap: %s since %s, %s", changes(got), got.Since, got.Earliest)
	}
	if fix := got.Fixes[engine.High]; fix.Count != 2 || fix.Mean != 3*24*time.Hour || fix.AtLeast {
		t.Errorf("time to fix: %+v", fix)
	}
}

// TestTrendOfOneToken that could not be judged for a while: it failed before
// and fails again.
func TestTrendOfOneToken(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	h.audit(failing("A1", "A2")...)
	h.audit(result{"A1", engine.Unknown}, result{"A2", engine.Errored})
	h.audit(result{"A1", engine.Unknown}, result{"A2", engine.Fail})
	id, _ := h.audit(failing("A1", "A2")...)
	if got := changes(h.trend(id)); got != "open 2" {
		t.Error(got)
	}
	h.wantSince(id, "A1 1, A2 1")
}

// TestTrendLooksPastWhatNobodyAskedFor: a section that is read on request only,
// and was not asked for, neither fixes nor finds anything.
func TestTrendLooksPastWhatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	header := EvaluationHeader{Policies: trendPolicies()}
	header.Policies[0].Needs = []string{"extra"}
	day := func(coverage engine.Coverage, results ...result) int64 {
		h.day++
		c := capture("alpha", "1", at(h.day), population(5, 2, ""), directory(2))
		c.Sections["extra"] = engine.Section{Coverage: coverage}
		return h.judge(mustSave(t, h.db, c).ID, header, results...)
	}
	day(complete, failing("A1", "B1")...)
	without := day(engine.NotRequested("ask for it"), result{"A*", engine.NotApplicable}, result{"B1", engine.Fail})
	if got := changes(h.trend(without)); got != "open 1" {
		t.Errorf("not asked for: %s", got)
	}
	again := day(complete, failing("A1", "A2", "B1")...)
	if got := changes(h.trend(again)); got != "new 1, open 2" {
		t.Errorf("asked for again: %s", got)
	}
}

// BenchmarkTrend compares two audits of 20,000 findings each.
func BenchmarkTrend(b *testing.B) {
	db := newDB(b)
	const n = 20_000
	tokens := population(n, 100, "")
	var last int64
	for day := range 2 {
		s := mustSave(b, db, capture("alpha", "1", at(day), tokens, directory(2)))
		e, err := db.BeginEvaluation(b.Context(), EvaluationHeader{AsOf: at(day), Policies: trendPolicies(), Snapshots: []int64{s.ID}})
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			f := trendFinding(result{"A1", engine.Fail})
			f.ResourceID, f.Fingerprint = tokenID(i), tokenID(i + day*n/10)[:32]
			if err := e.Add(f, s.ID); err != nil {
				b.Fatal(err)
			}
		}
		if err := e.Tally(s.ID, "A", engine.Tally{engine.Fail: n}); err != nil {
			b.Fatal(err)
		}
		if last, err = e.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := db.Report(b.Context(), last); err != nil {
			b.Fatal(err)
		}
	}
}
