package pipeline

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/eval"
	"patrol/engine/policy"
	"patrol/engine/store"
	"patrol/policies"
)

var forecastBegin = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// TestForecastIsPlainEvaluation: a forecast tells what one finds who makes each
// of the coming days up, with tokens that have ended left out and those in use
// used until then, and judges it as any snapshot, every policy on every token.
func TestForecastIsPlainEvaluation(t *testing.T) {
	set := forecastPolicies(t)
	dir, n := t.TempDir(), 0
	enginetest.Check(t, func(rt *rapid.T) {
		if n++; n > 30 {
			return // each run makes a database of its own
		}
		path := filepath.Join(dir, fmt.Sprint(n, ".db"))
		db, err := store.Open(context.Background(), path, store.Options{Mode: store.ReadWrite, Now: time.Now})
		if err != nil {
			rt.Fatal(err)
		}
		defer os.Remove(path)
		defer db.Close()
		o := Forecasting{From: forecastBegin, Days: rapid.IntRange(1, 6).Draw(rt, "days"), InUse: rapid.SampledFrom([]int{0, 7, 30}).Draw(rt, "in-use"), Cliff: 2}
		w := forecastWorld{t: rt, db: db, set: set, options: o, tokens: anyTokens(rt)}
		f, err := set.Forecast(context.Background(), db, []engine.Snapshot{w.save("now", w.tokens)}, o)
		if err != nil {
			rt.Fatal(err)
		}
		var got []string
		for _, found := range f.List {
			got = append(got, fmt.Sprint(found.Day, " ", found.Kind, " ", found.TokenID, " ", found.Policy, " ", found.Message))
		}
		want := slices.Concat(w.violations(), w.dates())
		want = append(want, cliffs(want, o.Cliff)...)
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("in use within %d days: -want +got\n%s", o.InUse, diff)
		}
	})
}

// forecastPolicies are the built-in ones, and one on the token that took another's
// place, which is presumed to stay in use as well.
func forecastPolicies(t *testing.T) *Policies {
	t.Helper()
	own := fstest.MapFS{"token/successor.rego": {Data: []byte(`# METADATA
# title: Replaced by a token that nobody uses
# description: For this test.
# schemas:
#   - input: schema.token
# custom:
#   id: T-1
#   severity: low
#   remedy: notify
#   remediation: None.
#   controls: {}
package patrol.token.successor

deny contains "x" if input.token.superseded_by_idle_days > 8
`)}}
	all, err := eval.Load(t.Context(), policy.Pack{Name: policy.BuiltIn, FS: policies.FS, Trusted: true}, policy.Pack{Name: "own", FS: own, Trusted: true})
	if err != nil {
		t.Fatal(err)
	}
	return &Policies{All: all, Chosen: all, config: config.Default()}
}

// anyTokens have dates near those at which something happens, of every kind.
func anyTokens(t *rapid.T) []engine.Token {
	var list []engine.Token
	hours := func(what string, days ...int) *int64 {
		at := 24*rapid.SampledFrom(days).Draw(t, what) + rapid.IntRange(-60, 60).Draw(t, what+" hours")
		return new(forecastBegin.Add(time.Duration(at) * time.Hour).UnixMilli())
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "tokens") {
		token := engine.Token{
			ID: fmt.Sprintf("%064x", i+1), OwnerID: fmt.Sprint(rapid.IntRange(5, 7).Draw(t, "owner")), Comment: rapid.SampledFrom([]string{"nightly load", "report"}).Draw(t, "comment"),
			Created: hours("created", -3, -7, -30, -90, -180, -365, -700), CreatorID: "5", CreatorName: "user5@example.com",
		}
		switch rapid.IntRange(0, 6).Draw(t, "expiry") {
		case 0:
			token.Expires = new(engine.NeverExpires)
		case 1:
			token.Expires, token.Defects = nil, []engine.Defect{{Field: "expiry_time", Reason: "missing"}}
		default:
			token.Expires = hours("expires", -2, 3, 3, 7, 14, 90)
		}
		switch rapid.IntRange(0, 8).Draw(t, "use") {
		case 0:
		case 1:
			token.Defects = append(token.Defects, engine.Defect{Field: "last_used_day", Reason: "bad_timestamp"})
		default:
			token.LastUsed = hours("used", 0, 0, -7, -14, -30, -60, -87, -90)
			token.LastUsed = new(min(*token.LastUsed, forecastBegin.UnixMilli()))
		}
		list = append(list, token)
	}
	if rapid.Bool().Draw(t, "replaced") { // one took the place of another
		old := engine.Token{
			ID: fmt.Sprintf("%064x", 8), OwnerID: "5", CreatorID: "5", Comment: "twin", LastUsed: hours("used", -60),
			Created: hours("created", -40), Expires: hours("expires", 90),
		}
		young := old
		young.ID, young.Created, young.LastUsed = fmt.Sprintf("%064x", 9), hours("created", -30), hours("used", -5)
		list = append(list, old, young)
	}
	return list
}

// forecastWorld is the plain way to foretell.
type forecastWorld struct {
	t       *rapid.T
	db      *store.DB
	set     *Policies
	options Forecasting
	tokens  []engine.Token
}

func (w *forecastWorld) save(id string, tokens []engine.Token) engine.Snapshot {
	whole := engine.Coverage{Status: engine.Complete}
	principals := []engine.Principal{
		{ID: "5", Kind: engine.User, Name: "user5@example.com", Active: new(true)},
		{ID: "6", Kind: engine.ServicePrincipal, Name: "6d1c2a30-0000-4000-8000-000000000001", Active: new(true)},
	}
	s, err := w.db.SaveSnapshot(context.Background(), engine.Capture{
		Workspace: engine.Workspace{ID: id, Name: "prod", Host: "https://prod.example.com", Cloud: "aws"}, CollectedAt: forecastBegin,
		Sections: map[engine.SectionName]engine.Section{
			engine.SectionTokens: {Coverage: whole, Tokens: func(yield func(engine.Token, error) bool) {
				for _, t := range tokens {
					if !yield(t, nil) {
						return
					}
				}
			}},
			engine.SectionPrincipals: {Coverage: whole, Principals: principals},
			engine.SectionSettings:   {Coverage: whole, Document: []byte(`{"maxTokenLifetimeDays":{"value":"90"},"enableTokensConfig":{"value":"true"}}`)},
			engine.SectionGrants:     {Coverage: whole, Document: []byte(`[]`)},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// on are the tokens as they are presumed to be on the n-th day.
func (w *forecastWorld) on(n int) (list []engine.Token) {
	at := forecastBegin.AddDate(0, 0, n).UnixMilli()
	for _, t := range w.tokens {
		if t.Expires != nil && *t.Expires != engine.NeverExpires && *t.Expires <= at {
			continue
		}
		if w.stays(t) {
			t.LastUsed = new(*t.LastUsed + int64(n)*engine.Day)
		}
		list = append(list, t)
	}
	return list
}

func (w *forecastWorld) stays(t engine.Token) bool {
	return t.LastUsed != nil && w.options.InUse > 0 && *t.LastUsed >= forecastBegin.AddDate(0, 0, -w.options.InUse).UnixMilli()
}

func (w *forecastWorld) violations() (list []string) {
	failed := map[string]bool{}
	onTokens := w.set.Chosen.Select(func(p engine.Policy) bool { return p.Resource == engine.ResourceToken }).With(eval.Options{NoPrefilter: true})
	for n := range w.options.Days + 1 {
		at := forecastBegin.AddDate(0, 0, n)
		s := w.save(fmt.Sprint("day ", n), w.on(n))
		_, err := onTokens.Evaluate(context.Background(), eval.Job{Snapshot: s, AsOf: at, Tokens: func(bool) iter.Seq2[engine.Subject, error] {
			return w.db.Subjects(context.Background(), s.ID, at, true)
		}}, func(f engine.Finding) error {
			key := f.Policy + " " + f.ResourceID
			if f.Status != engine.Fail || failed[key] {
				return nil
			}
			failed[key] = true
			if n > 0 {
				list = append(list, fmt.Sprint(at.Format(time.DateOnly), " violates ", f.ResourceID, " ", f.Policy, " ", f.Message))
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return list
}

// dates looks at each token hour by hour.
func (w *forecastWorld) dates() (list []string) {
	for _, t := range w.tokens {
		ended := func(at time.Time) bool { f := engine.Derive(t, at.UnixMilli()); return f.Expired == nil || *f.Expired }
		idle := func(at time.Time) bool {
			f := engine.Derive(t, at.UnixMilli())
			return f.IdleDays == nil || *f.IdleDays >= engine.InactivityDays
		}
		used := "never"
		if t.LastUsed != nil {
			used = time.UnixMilli(*t.LastUsed).UTC().Format(time.DateOnly)
		}
		for h := 1; h <= 24*w.options.Days && !ended(forecastBegin); h++ {
			at := forecastBegin.Add(time.Duration(h) * time.Hour)
			before := at.Add(-time.Hour)
			if ended(at) {
				list = append(list, fmt.Sprint(at.Format(time.DateOnly), " expires ", t.ID, "  last used ", used))
				break
			}
			if idle(at) && !idle(before) && !w.stays(t) {
				list = append(list, fmt.Sprint(at.Format(time.DateOnly), " inactivity ", t.ID, "  last used ", used, ", 90 days before"))
			}
		}
	}
	return list
}

func cliffs(list []string, least int) (found []string) {
	ends := map[string]int{}
	for _, text := range list {
		if day, rest, _ := strings.Cut(text, " "); strings.HasPrefix(rest, "expires ") {
			ends[day]++
		}
	}
	for day, n := range ends {
		if n >= least {
			found = append(found, fmt.Sprint(day, " cliff   tokens that end on this day: ", n))
		}
	}
	return found
}
