package store

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/sqlite"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func policies() []engine.Policy {
	list := twoPolicies()
	list[0].Params = []engine.Param{{Name: "max", Default: int64(90), Value: int64(12345678901234567), Origin: "default"}}
	list[0].Controls = map[string][]string{"nist": {"IA-5"}}
	list[0].Source = "package patrol.token.lifetime"
	return append(list, engine.Policy{ID: "WS-001", Severity: engine.High, Resource: engine.ResourceWorkspace})
}

type judged struct {
	db         *DB
	alpha, bet engine.Snapshot
	header     EvaluationHeader
}

// twoWorkspaces makes snapshots whose order of age is not that of their names.
func twoWorkspaces(t *testing.T) judged {
	db := newDB(t)
	bet := mustSave(t, db, capture("beta", "2", now, population(5, 2, ""), directory(2)))
	alpha := mustSave(t, db, capture("alpha", "1", now, population(4, 2, ""), directory(1)))
	return judged{db, alpha, bet, EvaluationHeader{
		AsOf: now, FailOn: engine.FailOn(engine.Medium), Version: "1.2.3", Policies: policies(), Snapshots: []int64{bet.ID, alpha.ID}, Narrowed: true,
	}}
}

func TestEvaluationRoundTrip(t *testing.T) {
	t.Parallel()
	j := twoWorkspaces(t)
	e, err := j.db.BeginEvaluation(t.Context(), j.header)
	must(t, err)
	defer e.Rollback()
	var want []engine.Finding
	add := func(s engine.Snapshot, f engine.Finding) {
		must(t, e.Add(f, s.ID))
		if f.Status.Judged() {
			f.Since = now
		}
		want = append(want, f)
	}
	for _, s := range []engine.Snapshot{j.bet, j.alpha} {
		for _, subject := range collect(t, j.db.Subjects(t.Context(), s.ID, now, true)) {
			for _, p := range twoPolicies() {
				f := findingOn(subject.Token, s, p)
				f.Token = &engine.FindingToken{Comment: subject.Token.Comment, LastUsed: subject.Token.LastUsed} // read with the finding
				for _, d := range subject.Token.Defects {
					f.Token.Defects = append(f.Token.Defects, d.Field)
				}
				add(s, f)
			}
		}
	}
	odd := findingOn(engine.Token{ID: "not in the snapshot"}, j.alpha, twoPolicies()[0])
	odd.Title, odd.Severity, odd.Remedy, odd.Fingerprint = "", engine.Critical, "manual", "short"
	odd.Evidence = map[string]any{"id": int64(9007199254740993), "big": json.Number("123456789012345678901234567890"), "half": json.Number("0.5"), "list": []any{"<a>", nil, int64(1), true}}
	odd.Waiver = &engine.Waiver{ID: "W-1", Reason: "until the move", Approver: "ann@example.com", Expires: "2026-04-01"}
	odd.Status = engine.Waived
	add(j.alpha, odd)
	add(j.bet, engine.Finding{Policy: "WS-001", Severity: engine.High, Status: engine.Unknown, Workspace: "beta", WorkspaceID: "2", Resource: engine.ResourceWorkspace, ResourceID: "2"})
	must(t, e.Tally(j.bet.ID, "PAT-002", engine.Tally{engine.Fail: 5, engine.Pass: 0}))
	must(t, e.Tally(j.alpha.ID, "PAT-002", engine.Tally{engine.Fail: 3, engine.Waived: 1}))
	must(t, e.Tally(j.bet.ID, "WS-001", engine.Tally{engine.Unknown: 1}))
	id, err := e.Commit()
	must(t, err)
	if latest, err := j.db.LatestEvaluation(t.Context()); err != nil || latest != id {
		t.Fatal(latest, err)
	}

	r, err := j.db.Report(t.Context(), id)
	must(t, err)
	slices.SortFunc(want, func(a, b engine.Finding) int {
		return slices.Compare(sortKey(a), sortKey(b))
	})
	for range 2 { // starts anew at each range
		if diff := cmp.Diff(want, collect(t, r.Findings)); diff != "" {
			t.Fatal(diff)
		}
	}
	checkReport(t, j, r)
}

func sortKey(f engine.Finding) []string {
	return []string{string(rune('0' + f.Severity.Rank())), f.Policy, f.Workspace, f.WorkspaceID, string(f.Resource), f.ResourceID}
}

func checkReport(t *testing.T, j judged, r engine.Report) {
	t.Helper()
	if r.Version != "1.2.3" || !r.AsOf.Equal(now) || r.FailOn != engine.FailOn(engine.Medium) || r.Verdict() != engine.Incomplete {
		t.Fatalf("%+v", r)
	}
	var ids []string
	for _, p := range r.Policies {
		ids = append(ids, p.Policy.ID)
	}
	if !slices.Equal(ids, []string{"PAT-002", "WS-001", "PAT-001"}) {
		t.Fatal(ids)
	}
	if diff := cmp.Diff(policies()[0], r.Policies[0].Policy); diff != "" {
		t.Fatal(diff)
	}
	wantSummary := engine.Summary{
		Tokens: 9, Workspaces: 2, Statuses: engine.Tally{engine.Fail: 8, engine.Pass: 0, engine.Waived: 1, engine.Unknown: 1},
		Severities: map[engine.Severity]engine.Tally{engine.Critical: {engine.Waived: 1}, engine.High: {engine.Fail: 9, engine.Pass: 0, engine.Unknown: 1}, engine.Medium: {engine.Fail: 9}, engine.Low: {}, engine.Info: {}}, // of the findings, whose severity may be tuned
	}
	if diff := cmp.Diff(wantSummary, r.Summary); diff != "" {
		t.Fatal(diff)
	}
	first := r.Workspaces[0]
	if first.Snapshot.Workspace.Name != "alpha" || first.Counts[engine.Fail] != 3 || first.Grants != nil || *first.Settings["maxTokenLifetimeDays"].Value != "90" {
		t.Fatalf("%+v", first)
	}
	var got, want []engine.Subject
	for _, row := range collect(t, r.Tokens) {
		got = append(got, row.Subject)
	}
	for _, s := range []engine.Snapshot{j.alpha, j.bet} {
		want = append(want, collect(t, j.db.Subjects(t.Context(), s.ID, now, true))...)
	}
	for i := range want {
		want[i].Peers = nil // reports show nothing of it
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestEvaluationHeaderReadsBack(t *testing.T) {
	t.Parallel()
	j := twoWorkspaces(t)
	e, err := j.db.BeginEvaluation(t.Context(), j.header)
	must(t, err)
	id, err := e.Commit()
	must(t, err)
	got, err := j.db.Evaluation(t.Context(), id)
	must(t, err)
	want := j.header
	want.Snapshots = []int64{j.alpha.ID, j.bet.ID}
	slices.SortFunc(want.Policies, func(a, b engine.Policy) int { return strings.Compare(a.ID, b.ID) })
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(engine.Threshold{})); diff != "" {
		t.Fatal(diff)
	}
	_, err = e.Commit()
	if err == nil {
		t.Fatal("committed twice")
	}
}

func TestNoEvaluation(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	_, err := db.LatestEvaluation(t.Context())
	wantReason(t, err, "no_evaluation")
	_, err = db.Report(t.Context(), 1)
	wantReason(t, err, "not_found")
}

func TestEvaluationRefusesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	j := twoWorkspaces(t)
	_, err := j.db.BeginEvaluation(t.Context(), EvaluationHeader{Snapshots: []int64{99}})
	wantReason(t, err, "not_found")
	_, err = j.db.BeginEvaluation(t.Context(), EvaluationHeader{Snapshots: []int64{1, 1}})
	wantReason(t, err, "storage")
	e, err := j.db.BeginEvaluation(t.Context(), j.header)
	must(t, err)
	defer e.Rollback()
	good := findingOn(population(1, 1, "")[0], j.alpha, twoPolicies()[0])
	for name, change := range map[string]func(*engine.Finding){
		"policy":    func(f *engine.Finding) { f.Policy = "X" },
		"workspace": func(f *engine.Finding) { f.WorkspaceID = "7" },
		"evidence":  func(f *engine.Finding) { f.Evidence = map[string]any{"f": func() {}} },
	} {
		bad := good
		change(&bad)
		if e.Add(bad, j.alpha.ID) == nil {
			t.Errorf("wrong %s passes", name)
		}
	}
	if e.Add(good, 99) == nil || e.Tally(99, "PAT-001", engine.Tally{}) == nil {
		t.Error("another snapshot passes")
	}
	must(t, e.Add(good, j.alpha.ID))
	must(t, e.Add(good, j.alpha.ID)) // the batch is not written yet
	if _, err := e.Commit(); err == nil {
		t.Error("a finding is there twice")
	}
	_, err = j.db.LatestEvaluation(t.Context())
	wantReason(t, err, "no_evaluation")
}

func TestUncommittedEvaluationIsNotSeen(t *testing.T) {
	t.Parallel()
	j := twoWorkspaces(t)
	e, err := j.db.BeginEvaluation(t.Context(), j.header)
	must(t, err)
	_, err = j.db.LatestEvaluation(t.Context())
	wantReason(t, err, "no_evaluation")
	e.Rollback()
	e.Rollback()
	mustSave(t, j.db, capture("alpha", "1", now, nil, nil))
}

func TestInterruptedEvaluation(t *testing.T) {
	t.Parallel()
	j := twoWorkspaces(t)
	ctx, cancel := context.WithCancel(t.Context())
	e, err := j.db.BeginEvaluation(ctx, j.header)
	must(t, err)
	cancel()
	if err := e.Add(findingOn(population(1, 1, "")[0], j.alpha, twoPolicies()[0]), j.alpha.ID); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := e.Commit(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	mustSave(t, j.db, capture("alpha", "1", now, nil, nil))
}

// Findings are written while tokens are read from the same file, and reports
// are read while another snapshot is saved.
func TestReadingBesideWriting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	db, other := mustOpen(t, path, readWrite), mustOpen(t, path, Options{Mode: ReadOnly, Now: clock})
	s := mustSave(t, db, capture("prod", "1", now, population(3000, 20, ""), directory(20)))
	id := writeFindings(t, db, s)
	for _, reader := range []*DB{db, other} {
		r, err := reader.Report(t.Context(), id)
		must(t, err)
		n := 0
		for _, err := range r.Findings {
			must(t, err)
			if n++; n == 10 {
				mustSave(t, db, capture("prod", "1", now, population(100, 20, "new"), nil))
			}
		}
		if n != 6000 {
			t.Fatal(n)
		}
	}
}

// SQLite must sort only within a policy and a workspace, not all findings.
func TestFindingsComeFromTheKey(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for name, query := range map[string]string{"sealed": findingQuery, "reported": reportedQuery} {
		var plan []string
		for c, err := range sqlite.Scan(t.Context(), db.SQL, "EXPLAIN QUERY PLAN "+query, 1) {
			must(t, err)
			_, _, _ = c.Value(), c.Value(), c.Value()
			plan = append(plan, c.Text())
		}
		if text := strings.Join(plan, "\n"); strings.Contains(text, "SCAN f") || strings.Contains(text, "SCAN v") || !strings.Contains(text, "LAST TERM OF ORDER BY") {
			t.Error(name, text)
		}
	}
}

// TestEvaluationsAreSealed edits each part of an evaluation: its report is not
// to be had, neither its findings nor the word that it is intact.
func TestEvaluationsAreSealed(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"nothing":      ``,
		"a finding":    `UPDATE finding SET message = 'x'`,
		"a status":     `UPDATE finding SET status = 'waived'`,
		"a title":      `UPDATE finding SET title = 'x'`,
		"a row less":   `DELETE FROM finding WHERE token_version = 1`,
		"a threshold":  `UPDATE evaluation SET fail_on = 'none'`,
		"a moment":     `UPDATE evaluation SET as_of_ms = as_of_ms + 1`,
		"what if":      `UPDATE evaluation SET what_if = 'x'`,
		"coverage":     `UPDATE evaluation SET min_coverage = 0`,
		"a tally":      `UPDATE tally SET count = count + 1`,
		"a parameter":  `UPDATE document SET body = replace(body, '90', '91') WHERE digest IN (SELECT document FROM evaluation_policy)`,
		"the snapshot": `UPDATE snapshot SET digest = 'x'`,
		"the seal":     `UPDATE evaluation SET digest = NULL`,
		"an exception": `UPDATE document SET body = replace(body, 'W-1', 'W-2') WHERE digest IN (SELECT exceptions FROM evaluation)`,
	} {
		t.Run(name, func(t *testing.T) {
			j := twoWorkspaces(t)
			e, err := j.db.BeginEvaluation(t.Context(), j.header)
			must(t, err)
			for _, s := range []engine.Snapshot{j.bet, j.alpha} {
				for _, subject := range collect(t, j.db.Subjects(t.Context(), s.ID, now, false)) {
					must(t, e.Add(findingOn(subject.Token, s, twoPolicies()[0]), s.ID))
				}
				must(t, e.Tally(s.ID, "PAT-002", engine.Tally{engine.Fail: 5}))
			}
			must(t, e.Exceptions(engine.Exceptions{Waivers: []engine.WaiverUse{{WaiverRule: engine.WaiverRule{ID: "W-1"}, State: engine.WaiverRefused}}}))
			id, err := e.Commit()
			must(t, err)
			if statement != "" {
				result, err := j.db.SQL.ExecContext(t.Context(), statement)
				must(t, err)
				if n, err := result.RowsAffected(); err != nil || n == 0 {
					t.Fatal("nothing was edited", err)
				}
			}
			must(t, j.db.Read(t.Context(), func(view *DB) error {
				r, err := view.Report(t.Context(), id)
				must(t, err)
				var last error
				for _, err := range r.Findings {
					last = err
				}
				intact := view.IntactEvaluation(t.Context(), id)
				if statement == "" {
					must(t, last)
					return intact
				}
				wantReason(t, last, "digest_mismatch")
				wantReason(t, intact, "digest_mismatch")
				return nil
			}))
		})
	}
}

// TestWhatIfStandsApart: what would be is never the latest evaluation, nor what
// a later one is compared with.
func TestWhatIfStandsApart(t *testing.T) {
	t.Parallel()
	j := twoWorkspaces(t)
	run := func(h EvaluationHeader) int64 {
		e, err := j.db.BeginEvaluation(t.Context(), h)
		must(t, err)
		must(t, e.Tally(j.alpha.ID, "PAT-002", engine.Tally{engine.Fail: 1}))
		id, err := e.Commit()
		must(t, err)
		return id
	}
	h := j.header
	h.WhatIf, h.Narrowed = "next year", false
	run(h)
	real := run(j.header) // narrowed: what is not would be preferred
	h.WhatIf = "the year after"
	apart := run(h)
	latest, err := j.db.LatestEvaluation(t.Context())
	must(t, err)
	if latest != real {
		t.Errorf("the latest evaluation is %d, want %d", latest, real)
	}
	r, err := j.db.Report(t.Context(), apart)
	must(t, err)
	if r.WhatIf != "the year after" {
		t.Errorf("the report calls it %q", r.WhatIf)
	}
	list, err := j.db.Evaluations(t.Context())
	must(t, err)
	if len(list) != 3 || list[0].WhatIf != "the year after" || list[1].WhatIf != "" || list[1].Digest == "" {
		t.Errorf("%+v", list)
	}
	later := mustSave(t, j.db, capture("alpha", "1", now.AddDate(2, 0, 0), population(4, 2, ""), directory(1)))
	b, err := verdictBefore(t.Context(), j.db.q, apart+1, later.ID, now.AddDate(2, 0, 0).UnixMilli(), policies()[0])
	if err != nil || b == nil || b.evaluation != real {
		t.Errorf("a later evaluation is compared with %+v, want %d (%v)", b, real, err)
	}
}

func TestExceptionsRoundTrip(t *testing.T) {
	t.Parallel()
	j := twoWorkspaces(t)
	day := engine.DateOf(now)
	want := engine.Exceptions{
		Waivers: []engine.WaiverUse{{
			WaiverRule: engine.WaiverRule{ID: "W-1", Policies: []string{"PAT-001"}, Token: "39*", Reason: "<until> the move", Approver: "ann@example.com", Created: day, Expires: day + 30},
			State:      engine.WaiverRefused, DaysLeft: 30, Refusals: []engine.WaiverRefusal{{Policy: "WV-001", Message: "too long", Findings: 2}},
		}},
		Baseline: &engine.BaselineUse{
			AsOf: "2026-01-01T00:00:00Z", Version: "1", Entries: 2, Baselined: 1,
			Gone: []engine.BaselineEntry{{Fingerprint: "ab", Policy: "PAT-001", Severity: engine.High, WorkspaceID: "9007199254740993", Resource: engine.ResourceToken, ResourceID: "c"}},
		},
	}
	for _, x := range []engine.Exceptions{want, {}} {
		e, err := j.db.BeginEvaluation(t.Context(), j.header)
		must(t, err)
		must(t, e.Exceptions(x))
		id, err := e.Commit()
		must(t, err)
		r, err := j.db.Report(t.Context(), id)
		must(t, err)
		if diff := cmp.Diff(x, r.Exceptions); diff != "" {
			t.Fatal(diff)
		}
	}
}
