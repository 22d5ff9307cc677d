package eval

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
)

// forecasted are policies whose verdict changes as days go by, for a reason of each
// kind: facts of the token, its owner, the others, and the moment itself.
func forecasted() map[string]string {
	bodies := map[string]string{
		"age":     `deny contains sprintf("%d days old", [input.token.age_days]) if input.token.age_days > 32`,
		"last":    "applicable if input.token.expires_in_days < 25\n\ndeny contains \"last one\" if input.owner.live_tokens < 2",
		"near":    `deny contains "alone" if input.token.workspace_expiring_near < 2`,
		"moment":  `deny contains input.as_of if startswith(input.as_of, "2026-11-04")`,
		"until":   `deny contains "early" if input.token.age_days < 31`,
		"unknown": `deny contains "idle" if input.token.idle_days > 3`,
		"weak":    `deny contains "nobody took its place" if not input.token.superseded_by`,
		"fails":   `deny contains "x" if to_number(input.token.comment) > input.token.expires_in_days`,
	}
	files := map[string]string{}
	for name, body := range bodies {
		files["token/"+name+".rego"] = enginetest.PolicyText("token", name, "F-"+name, "", body)
	}
	return files
}

// futureTokens are three tokens that change in all that may: the middle one ends, and
// so its owner has one less and the last fewer near it.
func futureTokens(at []time.Time) []engine.FutureToken {
	first := asOf().UnixMilli()
	var list []engine.FutureToken
	for i, comment := range []string{"10", "28", "some text"} {
		list = append(list, func(n int) (engine.Subject, bool) {
			s := healthy(func(t *engine.Token) {
				t.ID, t.Comment = fmt.Sprintf("%064d", i), comment
				if i == 1 {
					t.Expires = ptr(first + 4*engine.Day)
				}
				if i == 2 {
					t.LastUsed, t.Defects = nil, []engine.Defect{{Field: "last_used_day", Reason: "bad_timestamp"}}
				}
			})
			s.Facts = engine.Derive(s.Token, at[n].UnixMilli())
			s.Owner.LiveTokens, s.Peers.WorkspaceExpiringNear = 2, ptr(int64(2))
			s.Peers.SuccessorUnknown = n < 5
			if n >= 4 {
				s.Owner.LiveTokens, s.Peers.WorkspaceExpiringNear = 1, ptr(int64(1))
			}
			return s, !*s.Facts.Expired
		})
	}
	return list
}

// TestForecastIsEvaluateAtEachInstant, with policies judged in this process, by
// what they were reduced to or not, and in a sandbox.
func TestForecastIsEvaluateAtEachInstant(t *testing.T) {
	var at []time.Time
	for n := range 8 {
		at = append(at, asOf().AddDate(0, 0, n))
	}
	trusted := pack("pack", forecasted())
	trusted.Trusted = true
	own, err := Load(t.Context(), schemas(t), trusted)
	if err != nil {
		t.Fatal(err)
	}
	others := load(t, forecasted())
	want := forecastByEvaluate(t, own.With(Options{NoPrefilter: true}), at)
	for _, text := range []string{"3 F-age fail 33 days old", "6 F-last fail last one", "4 F-near fail alone", "5 F-weak fail nobody", "3 F-moment fail 2026-11-04T00:00:00Z", "0 F-unknown unknown", "0 F-fails error"} {
		if !slices.ContainsFunc(want, func(line string) bool { return len(line) > len(text) && line[:len(text)] == text }) {
			t.Errorf("nothing shows %q: %q", text, want)
		}
	}
	for name, set := range map[string]*Set{
		"reduced": own, "plain": own.With(Options{NoPrefilter: true}), "one worker": own.With(Options{Workers: 1}),
		"in a sandbox": others.With(Options{Sandbox: ownSandbox}),
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			err := set.Forecast(t.Context(), ForecastJob{Snapshot: covered(nil), At: at, Tokens: sequence(futureTokens(at), nil)}, func(n int, f engine.Finding) error {
				got = append(got, shownFirst(n, f))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			enginetest.Equal(t, got, want)
		})
	}
}

func sequence(list []engine.FutureToken, end error) func(bool) iter.Seq2[engine.FutureToken, error] {
	return func(bool) iter.Seq2[engine.FutureToken, error] {
		return func(yield func(engine.FutureToken, error) bool) {
			for _, p := range list {
				if !yield(p, nil) {
					return
				}
			}
			if end != nil {
				yield(nil, end)
			}
		}
	}
}

func shownFirst(n int, f engine.Finding) string {
	return fmt.Sprint(n, " ", f.Policy, " ", f.Status, " ", f.Message, " ", f.ResourceID, " ", f.Evidence)
}

// forecastByEvaluate judges each instant by itself, and keeps what is new.
func forecastByEvaluate(t *testing.T, set *Set, at []time.Time) (list []string) {
	failed := map[string]bool{}
	for n := range at {
		var tokens []engine.Subject
		for _, p := range futureTokens(at) {
			if s, there := p(n); there {
				tokens = append(tokens, s)
			}
		}
		findings, _ := evaluate(t, set, Job{Snapshot: covered(nil), AsOf: at[n], Tokens: rows(tokens...)})
		for _, f := range findings {
			pair := f.Policy + " " + f.ResourceID
			if known := failed[pair]; n == 0 && f.Status != engine.Fail || n > 0 && f.Status == engine.Fail && !known {
				list = append(list, shownFirst(n, f))
			}
			failed[pair] = failed[pair] || f.Status == engine.Fail
		}
	}
	slices.Sort(list)
	return list
}

func TestForecastEndsWithWhatFails(t *testing.T) {
	at := []time.Time{asOf(), asOf().AddDate(0, 0, 5)}
	broken := errors.New("broken")
	for name, set := range map[string]*Set{"here": load(t, forecasted()), "in a sandbox": load(t, forecasted()).With(Options{Sandbox: ownSandbox})} {
		job := ForecastJob{Snapshot: covered(nil), At: at, Tokens: sequence(futureTokens(at), broken)}
		if err := set.Forecast(t.Context(), job, func(int, engine.Finding) error { return nil }); !errors.Is(err, broken) {
			t.Errorf("%s: tokens that cannot be read: %v", name, err)
		}
		job.Tokens = sequence(futureTokens(at), nil)
		if err := set.Forecast(t.Context(), job, func(int, engine.Finding) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("%s: who takes no more: %v", name, err)
		}
	}
}
