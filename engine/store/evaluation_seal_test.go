package store

import (
	"testing"

	"patrol/engine"
)

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
