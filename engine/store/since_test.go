package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// wantSince compares since which day the findings of an evaluation stand, such
// as "A1 1, B2 3"; a dash where that is not known.
func (h *history) wantSince(evaluation int64, want string) {
	h.t.Helper()
	r, err := h.db.Report(h.t.Context(), evaluation)
	must(h.t, err)
	var got []string
	for _, f := range collect(h.t, r.Findings) {
		day := "-"
		if !f.Since.IsZero() {
			day = fmt.Sprint(int(f.Since.Sub(now).Hours()) / 24)
		}
		name := strings.TrimLeft(f.Fingerprint, "0")
		got = append(got, string([]byte{hexByte(name[:2]), hexByte(name[2:])})+" "+day)
	}
	slices.Sort(got)
	if text := strings.Join(got, ", "); text != want {
		h.t.Errorf("evaluation %d: got %s, want %s", evaluation, text, want)
	}
}

func hexByte(digits string) byte {
	var b byte
	_, _ = fmt.Sscanf(digits, "%02x", &b)
	return b
}

func TestSince(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	first, _ := h.audit(failing("A1", "A2", "B1")...)
	h.wantSince(first, "A1 1, A2 1, B1 1")
	second, _ := h.audit(failing("A1", "A3")...)
	h.wantSince(second, "A1 1, A3 2")
	third, _ := h.audit(failing("A1", "A2", "A3", "B1")...)
	h.wantSince(third, "A1 1, A2 3, A3 2, B1 3")
}

// TestSinceOfExcused: what is excused stands all the same.
func TestSinceOfExcused(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	h.audit(result{"A1", engine.Fail}, result{"A2", engine.Baselined})
	waived, _ := h.audit(result{"A1", engine.Waived}, result{"A2", engine.Fail})
	h.wantSince(waived, "A1 1, A2 1")
	again, _ := h.audit(failing("A1", "A2")...)
	h.wantSince(again, "A1 1, A2 1")
}

// TestSinceAcrossGaps: a gap is no verdict, and so ends nothing.
func TestSinceAcrossGaps(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	h.audit(failing("A1", "A2", "A3")...)
	gap, _ := h.audit(result{"A*", engine.Unknown}, result{"B1", engine.Unknown})
	h.wantSince(gap, "A* -, B1 -")
	h.audit(result{"A1", engine.Fail}, result{"A2", engine.Unknown}, result{"B1", engine.Fail})
	fourth, _ := h.audit(failing("A1", "A2", "A3", "B1")...)
	h.wantSince(fourth, "A1 1, A2 1, A3 4, B1 3")
}

// TestSinceOfMoved: neither a new severity nor a token that changed begins anew.
func TestSinceOfMoved(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	h.audit(failing("A1", "A2")...)
	h.day++
	s := mustSave(t, h.db, capture("alpha", "1", at(h.day), population(5, 2, "renamed"), directory(2)))
	e, err := h.db.BeginEvaluation(t.Context(), EvaluationHeader{AsOf: at(h.day), Policies: trendPolicies(), Snapshots: []int64{s.ID}})
	must(t, err)
	defer e.Rollback()
	must(t, e.Tally(s.ID, "A", engine.Tally{engine.Fail: 2}))
	for _, name := range []string{"A1", "A2", "A3"} {
		f := trendFinding(result{name, engine.Fail})
		if name == "A1" {
			f.Severity = engine.Critical
		}
		must(t, e.Add(f, s.ID))
	}
	id, err := e.Commit()
	must(t, err)
	h.wantSince(id, "A1 1, A2 1, A3 2")
}

// TestSinceIsStable: judging again says the same; what was judged as of a later
// moment is no past.
func TestSinceIsStable(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	h.day++
	s := mustSave(t, h.db, capture("alpha", "1", at(h.day), population(5, 2, ""), directory(2)))
	e, err := h.db.BeginEvaluation(t.Context(), EvaluationHeader{AsOf: at(300), Policies: trendPolicies(), Snapshots: []int64{s.ID}})
	must(t, err)
	must(t, e.Tally(s.ID, "A", engine.Tally{engine.Fail: 1}))
	must(t, e.Add(trendFinding(result{"A1", engine.Fail}), s.ID))
	future, err := e.Commit()
	must(t, err)
	h.wantSince(future, "A1 300")
	second, snapshot := h.audit(failing("A1")...)
	h.wantSince(second, "A1 2")
	third, later := h.audit(failing("A1", "A2")...)
	h.wantSince(third, "A1 2, A2 3")
	h.judge(snapshot, EvaluationHeader{}, failing("A2")...)
	h.wantSince(h.judge(later, EvaluationHeader{}, failing("A1", "A2")...), "A1 2, A2 3")
}

// TestSinceOutlivesPruning: the beginning stays known when its snapshot goes.
func TestSinceOutlivesPruning(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	_, first := h.audit(failing("A1")...)
	second, _ := h.audit(failing("A1", "A2")...)
	s, err := h.db.Snapshot(t.Context(), first)
	must(t, err)
	_, err = h.db.Prune(t.Context(), []engine.Snapshot{s})
	must(t, err)
	h.wantSince(second, "A1 1, A2 2")
	third, _ := h.audit(failing("A1", "A2", "B1")...)
	h.wantSince(third, "A1 1, A2 2, B1 3")
}

// TestSinceOfOlderDatabases: rows that were stored before beginnings were do not
// tell one; what is judged next began no later than they.
func TestSinceOfOlderDatabases(t *testing.T) {
	t.Parallel()
	h := &history{t: t, db: newDB(t)}
	first, _ := h.audit(failing("A1", "B1")...)
	_, err := h.db.SQL.ExecContext(t.Context(), `UPDATE finding SET since_ms = NULL`)
	must(t, err)
	must(t, h.db.Write(t.Context(), "seal", func(tx *sqlite.Tx) error { return sealOld(t.Context(), tx.Tx) })) // as the upgrade does
	h.wantSince(first, "A1 -, B1 -")
	second, _ := h.audit(failing("A1")...)
	h.wantSince(second, "A1 1")
	if fix := h.trend(second).Fixes[engine.Low]; fix.Count != 1 || !fix.AtLeast {
		t.Errorf("%+v", fix)
	}
}

// TestBasesComeFromKeys: a year of audits is not read to find the one before.
func TestBasesComeFromKeys(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for _, query := range []string{verdictQuery} {
		var plan []string
		for c, err := range sqlite.Scan(t.Context(), db.SQL, "EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))[:parameters(query)]...) {
			must(t, err)
			_, _, _ = c.Value(), c.Value(), c.Value()
			plan = append(plan, c.Text())
		}
		for _, step := range plan {
			if strings.HasPrefix(step, "SCAN") && step != "SCAN json_each VIRTUAL TABLE INDEX 1:" && step != "SCAN CONSTANT ROW" {
				t.Errorf("%s\n%s", query, strings.Join(plan, "\n"))
			}
		}
		t.Log(strings.Join(plan, "\n"))
	}
}

func parameters(query string) int {
	for n := 9; n > 0; n-- {
		if strings.Contains(query, fmt.Sprint("?", n)) {
			return n
		}
	}
	return strings.Count(query, "?")
}

// Fingerprints that differ in one character, or in its case, are told apart.
func TestFingerprintsAreToldApart(t *testing.T) {
	t.Parallel()
	seen := map[fingerprintKey]string{}
	for _, text := range []string{"", "a", "A", strings.Repeat("a", 32), strings.Repeat("A", 32), strings.Repeat("a", 31) + "b", strings.Repeat("a", 64), "b" + strings.Repeat("a", 31)} {
		if other, taken := seen[keyOf(text)]; taken {
			t.Errorf("%q and %q have one key", text, other)
		}
		seen[keyOf(text)] = text
	}
	if len(fingerprintKey{}) < 16 {
		t.Error("a key of fewer than 16 bytes can be the same by chance")
	}
}
