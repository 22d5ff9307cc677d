package main

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/eval"
	"patrol/engine/policy"
	"patrol/engine/store"
	"patrol/policies"
	"patrol/reports"
	"patrol/reports/table"
)

// TestListsReadBackGiveTheSameVerdicts: what `patrol tokens` writes of a snapshot,
// read back by --from, gives every token the same result under every policy that
// needs tokens alone, whatever the population.
func TestListsReadBackGiveTheSameVerdicts(t *testing.T) {
	enginetest.NotInRace(t)
	all, err := eval.Load(t.Context(), policy.Pack{Name: policy.BuiltIn, FS: policies.FS, Trusted: true})
	if err != nil {
		t.Fatal(err)
	}
	ofTokens := all.Select(func(p engine.Policy) bool { return slices.Equal(p.Needs, []string{"tokens"}) })
	if n := len(ofTokens.Policies()); n < 12 {
		t.Fatalf("%d policies need tokens alone", n)
	}
	asOf := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	dir, n := t.TempDir(), 0
	enginetest.Check(t, func(rt *rapid.T) {
		if n++; n > 25 {
			return // each run makes three databases
		}
		tokens := enginetest.Tokens(rapid.Uint64().Draw(rt, "seed"), rapid.IntRange(1, 40).Draw(rt, "tokens"), asOf.UnixMilli())
		for i := range tokens { // a file's times after today are not believed
			for _, at := range []*int64{tokens[i].Created, tokens[i].LastUsed} {
				if at != nil {
					*at = min(*at, asOf.UnixMilli())
				}
			}
		}
		w := importWorld{rt, ofTokens, asOf, filepath.Join(dir, fmt.Sprint(n))}
		want, rows := w.judge("live", engine.Capture{
			Workspace: engine.Workspace{ID: "9265712442366781", Name: "prod"}, CollectedAt: asOf,
			Sections: map[engine.SectionName]engine.Section{engine.SectionTokens: {Coverage: engine.Coverage{Status: engine.Complete, Count: len(tokens)}, Tokens: each(tokens)}},
		})
		for _, format := range []string{"csv", "json"} {
			var text bytes.Buffer
			if err := reports.Tokens(context.Background(), &text, format, each(rows), table.Options{}); err != nil {
				rt.Fatal(err)
			}
			path := filepath.Join(dir, "list."+format)
			if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
				rt.Fatal(err)
			}
			outcomes, err := collectors.Import(context.Background(), path, collectors.ImportOptions{Options: collectors.Options{SpoolDir: dir, Now: func() time.Time { return asOf }}})
			if err != nil || len(outcomes) != 1 {
				rt.Fatalf("%d outcomes, %v\n%s", len(outcomes), err, &text)
			}
			got, _ := w.judge(format, outcomes[0].Capture)
			if err := outcomes[0].Close(); err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("%s: -live +read back\n%s\n%s", format, diff, &text)
			}
		}
	})
}

func each[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, element := range list {
			if !yield(element, nil) {
				return
			}
		}
	}
}

type importWorld struct {
	t        *rapid.T
	policies *eval.Set
	asOf     time.Time
	path     string
}

// judge tells the result of each policy on each token, and the rows that a list has.
func (w importWorld) judge(name string, capture engine.Capture) (results []string, rows []engine.TokenRow) {
	ctx, path := context.Background(), w.path+name+".db"
	db, err := store.Open(ctx, path, store.Options{Mode: store.ReadWrite, Now: time.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	defer os.Remove(path)
	defer db.Close()
	snapshot, err := db.SaveSnapshot(ctx, capture)
	if err != nil {
		w.t.Fatal(err)
	}
	job := eval.Job{Snapshot: snapshot, AsOf: w.asOf, Tokens: func(among bool) iter.Seq2[engine.Subject, error] { return db.Subjects(ctx, snapshot.ID, w.asOf, among) }}
	tallies, err := w.policies.Evaluate(ctx, job, func(f engine.Finding) error {
		results = append(results, fmt.Sprint(f.Policy, " ", f.ResourceID, " ", f.Status))
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(results)
	for _, id := range engine.SortedKeys(tallies) {
		results = append(results, fmt.Sprint(id, " ", tallies[id]))
	}
	o := &tokensOptions{}
	for row, err := range o.rows(ctx, db, []engine.Snapshot{snapshot}, w.asOf, nil) {
		if err != nil {
			w.t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return results, rows
}
