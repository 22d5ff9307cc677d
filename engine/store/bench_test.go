package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

func benchSize() int {
	var n int
	if _, err := fmt.Sscan(os.Getenv("PATROLTEST_BENCH_TOKENS"), &n); err != nil {
		return 20_000
	}
	return n
}

func BenchmarkSaveSnapshot(b *testing.B) {
	n := benchSize()
	first, principals := population(n, n/20, ""), directory(n/20)
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			db := newDB(b)
			mustSave(b, db, capture("prod", "1", now, first, principals))
			b.StopTimer()
			db.Close()
			b.StartTimer()
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
	})
	b.Run("unchanged", func(b *testing.B) {
		b.ReportAllocs()
		db := newDB(b)
		mustSave(b, db, capture("prod", "1", now, first, principals))
		for b.Loop() {
			mustSave(b, db, capture("prod", "1", now, first, principals))
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
	})
}

func BenchmarkSubjects(b *testing.B) {
	n := benchSize()
	db := newDB(b)
	s := mustSave(b, db, capture("prod", "1", now, population(n, n/20, ""), directory(n/20)))
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range db.Subjects(b.Context(), s.ID, now, true) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "subjects/s")
}

func BenchmarkFindings(b *testing.B) {
	n := benchSize()
	db := newDB(b)
	s := mustSave(b, db, capture("prod", "1", now, population(n, n/20, ""), nil))
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			writeFindings(b, db, s)
		}
		b.ReportMetric(2*float64(n)*float64(b.N)/b.Elapsed().Seconds(), "findings/s")
	})
	id := writeFindings(b, db, s)
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		r, err := db.Report(b.Context(), id)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			for _, err := range r.Findings {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(2*float64(n)*float64(b.N)/b.Elapsed().Seconds(), "findings/s")
	})
}

// writeFindings stores two findings per token, while the tokens stream by.
func writeFindings(tb testing.TB, db *DB, s engine.Snapshot) int64 {
	tb.Helper()
	e, err := db.BeginEvaluation(context.Background(), EvaluationHeader{AsOf: now, Policies: twoPolicies(), Snapshots: []int64{s.ID}})
	if err != nil {
		tb.Fatal(err)
	}
	defer e.Rollback()
	for subject, err := range db.Subjects(context.Background(), s.ID, now, true) {
		if err != nil {
			tb.Fatal(err)
		}
		for _, p := range twoPolicies() {
			if err := e.Add(findingOn(subject.Token, s, p), s.ID); err != nil {
				tb.Fatal(err)
			}
		}
	}
	id, err := e.Commit()
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func twoPolicies() []engine.Policy {
	return []engine.Policy{
		{ID: "PAT-002", Title: "Lives too long", Severity: engine.High, Resource: engine.ResourceToken, Remedy: "revoke"},
		{ID: "PAT-001", Title: "Never used", Severity: engine.Medium, Resource: engine.ResourceToken, Remedy: "notify"},
	}
}

func findingOn(t engine.Token, s engine.Snapshot, p engine.Policy) engine.Finding {
	return engine.Finding{
		Policy: p.ID, Title: p.Title, Severity: p.Severity, Status: engine.Fail, Workspace: s.Workspace.Name, WorkspaceID: s.Workspace.ID,
		Resource: engine.ResourceToken, ResourceID: t.ID, Owner: t.CreatorName, OwnerID: t.OwnerID, Message: "lives 100 days, limit 90",
		Evidence: map[string]any{"lifetime_days": int64(100), "limit": int64(90), "owner_id": t.OwnerID}, Remedy: p.Remedy, Fingerprint: tokenID(len(t.ID)),
	}
}

// TestSizes prints file sizes and rates once; it needs PATROLTEST_SIZES=tokens,days.
func TestSizes(t *testing.T) {
	t.Parallel()
	var n, days int
	if _, err := fmt.Sscanf(os.Getenv("PATROLTEST_SIZES"), "%d,%d", &n, &days); err != nil {
		t.Skip("PATROLTEST_SIZES is not set")
	}
	db := newDB(t)
	tokens, principals := population(n, n/20, ""), directory(n/20)
	for day := range days {
		churn(tokens, day)
		begun := time.Now()
		mustSave(t, db, capture("prod", "1", now.AddDate(0, 0, day), tokens, principals))
		if day < 3 || day%30 == 0 || day == days-1 {
			t.Logf("day %d: %.0f tokens/s, %.1f MB", day, float64(n)/time.Since(begun).Seconds(), float64(fileSize(t, db.Path))/1e6)
		}
	}
	for c, err := range sqlite.Scan(t.Context(), db.SQL, "SELECT name, sum(pgsize), count(*) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 6") {
		if err != nil {
			t.Log(err)
			break
		}
		t.Logf("%s: %.1f MB", c.Text(), float64(c.Int())/1e6)
	}
	latest, err := db.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	begun, seen := time.Now(), 0
	for _, err := range db.Subjects(t.Context(), latest[0].ID, now, true) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
	}
	t.Logf("%.0f subjects/s", float64(seen)/time.Since(begun).Seconds())
	begun = time.Now()
	if err := db.VerifySnapshot(t.Context(), latest[0].ID); err != nil {
		t.Fatal(err)
	}
	t.Logf("%.0f tokens/s verified", float64(seen)/time.Since(begun).Seconds())
	begun = time.Now()
	writeFindings(t, db, latest[0])
	t.Logf("%.0f findings/s written with their subjects", 2*float64(seen)/time.Since(begun).Seconds())
	t.Logf("%.1f MB with findings", float64(fileSize(t, db.Path))/1e6)
}

// churn changes one token in a hundred, and the last use of six in ten.
func churn(tokens []engine.Token, day int) {
	for i := range tokens {
		t := &tokens[i]
		if i%100 == day%100 && day > 0 {
			t.Comment = fmt.Sprintf("job %d on day %d", i, day)
		}
		if (i*7+day*13)%10 < 6 {
			t.LastUsed = new((now.UnixMilli()/engine.Day + int64(day)) * engine.Day)
		}
		t.Raw = rawOf(*t)
	}
}

func fileSize(tb testing.TB, path string) int64 {
	tb.Helper()
	var total int64
	files, err := filepath.Glob(path + "*")
	if err != nil {
		tb.Fatal(err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			tb.Fatal(err)
		}
		total += info.Size()
	}
	return total
}

// TestMillion stores PATROLTEST_MILLION tokens as they come, and prints how much
// memory the process took. It reads them back, too.
func TestMillion(t *testing.T) {
	var n int
	if _, err := fmt.Sscan(os.Getenv("PATROLTEST_MILLION"), &n); err != nil {
		t.Skip("PATROLTEST_MILLION is not set")
	}
	template := population(1, 1, "")[0]
	c := capture("prod", "1", now, nil, directory(1000))
	c.Sections[engine.SectionTokens] = engine.Section{Coverage: complete, Tokens: func(yield func(engine.Token, error) bool) {
		for i := range n {
			token := template
			token.ID, token.Comment = fmt.Sprintf("%064x", i), fmt.Sprintf("job %d", i)
			token.OwnerID = fmt.Sprint(5_000_000_000_000_000 + i%1000)
			token.Raw = rawOf(token)
			if !yield(token, nil) {
				return
			}
		}
	}}
	db := newDB(t)
	begun := time.Now()
	s := mustSave(t, db, c)
	t.Logf("%.0f tokens/s, %s", float64(n)/time.Since(begun).Seconds(), peakMemory(t))
	begun = time.Now()
	for _, err := range db.Subjects(t.Context(), s.ID, now, true) {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%.0f subjects/s, %s", float64(n)/time.Since(begun).Seconds(), peakMemory(t))
	begun = time.Now()
	id := writeFindings(t, db, s)
	t.Logf("%.0f findings/s, %s", 2*float64(n)/time.Since(begun).Seconds(), peakMemory(t))
	r, err := db.Report(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	begun = time.Now()
	for _, err := range r.Findings {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%.0f findings/s read, %s, %.0f MB", 2*float64(n)/time.Since(begun).Seconds(), peakMemory(t), float64(fileSize(t, db.Path))/1e6)
}

func peakMemory(tb testing.TB) string {
	tb.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "peak unknown"
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	peak, _, _ := strings.Cut(rest, "\n")
	return "peak " + strings.TrimSpace(peak)
}
