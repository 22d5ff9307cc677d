package eval

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	cmpdiff "github.com/google/go-cmp/cmp"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/policy"
	"patrol/policies"
)

// asOf is the instant of judgement in all tests.
func asOf() time.Time { return time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) }

// pack makes a pack of files by path.
func pack(name string, files map[string]string) policy.Pack {
	return policy.Pack{Name: name, FS: enginetest.Files(files)}
}

// schemas is a pack of the built-in schemas and nothing else.
func schemas(t testing.TB) policy.Pack {
	return policy.Pack{Name: "built-in", FS: enginetest.Schemas(t, policies.FS)}
}

func load(t testing.TB, files map[string]string) *Set {
	t.Helper()
	set, err := Load(t.Context(), schemas(t), pack("pack", files))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func ptr[T any](v T) *T { return &v }

// healthy is a token that no policy objects to, with an owner whom the directory knows.
func healthy(change func(*engine.Token)) engine.Subject {
	now := asOf().UnixMilli()
	token := engine.Token{
		ID: strings.Repeat("a", 64), Comment: "nightly export, OPS-12",
		Created: ptr(now - 30*engine.Day), Expires: ptr(now + 30*engine.Day), LastUsed: ptr(now - engine.Day),
		OwnerID: "7000000000000000001", CreatorID: "7000000000000000001", CreatorName: "ann@example.com",
		Scopes: []string{"sql"}, AutoscopeState: "AUTOSCOPE_STATE_USER_SELECTED",
	}
	if change != nil {
		change(&token)
	}
	person := engine.Party{
		ID: token.OwnerID, Kind: engine.User, Name: "ann@example.com", DisplayName: "Ann Example",
		Active: ptr(true), Admin: ptr(false), Groups: []string{"data-engineers"}, LiveTokens: 1,
	}
	creator := person
	creator.ID = token.CreatorID
	among := &engine.Peers{OwnerExpiringNear: ptr(int64(1)), WorkspaceExpiringNear: ptr(int64(1)), InPrevious: ptr(true), FirstSeen: ptr(now - 30*engine.Day)}
	return engine.Subject{Token: token, Facts: engine.Derive(token, now), Owner: person, Creator: creator, Peers: among}
}

// covered is a snapshot of a workspace that was read whole.
func covered(change func(*engine.Snapshot)) engine.Snapshot {
	complete := engine.Coverage{Status: engine.Complete}
	s := engine.Snapshot{
		Workspace: engine.Workspace{ID: "1000", Name: "prod", Host: "https://prod.example.com", Cloud: "azure", Labels: map[string]string{"env": "prod"}},
		Coverage: map[engine.SectionName]engine.Coverage{
			engine.SectionWorkspace: complete, engine.SectionTokens: complete, engine.SectionPrincipals: complete,
			engine.SectionSettings: complete, engine.SectionGrants: complete,
		},
		Documents: map[engine.SectionName]json.RawMessage{
			engine.SectionSettings: json.RawMessage(`{"enableTokensConfig":{"value":"true"},"maxTokenLifetimeDays":{"value":"30"}}`),
			engine.SectionGrants:   json.RawMessage(`[{"principal":"users","kind":"group","level":"CAN_USE","inherited":false}]`),
		},
		Tokens: 1,
	}
	s.Coverage, s.Documents = maps.Clone(s.Coverage), maps.Clone(s.Documents)
	if change != nil {
		change(&s)
	}
	return s
}

func rows(subjects ...engine.Subject) func(bool) iter.Seq2[engine.Subject, error] {
	return either(func(yield func(engine.Subject, error) bool) {
		for _, s := range subjects {
			if !yield(s, nil) {
				return
			}
		}
	})
}

// either are the same tokens, whether they are asked for with how they stand or without.
func either(tokens iter.Seq2[engine.Subject, error]) func(bool) iter.Seq2[engine.Subject, error] {
	return func(bool) iter.Seq2[engine.Subject, error] { return tokens }
}

// evaluate runs a job and returns the findings in a fixed order.
func evaluate(t testing.TB, set *Set, job Job) ([]engine.Finding, map[string]engine.Tally) {
	t.Helper()
	if job.AsOf.IsZero() {
		job.AsOf = asOf()
	}
	findings, tallies, err := evaluateIn(t.Context(), set, job)
	if err != nil {
		t.Fatal(err)
	}
	return findings, tallies
}

func evaluateIn(ctx context.Context, set *Set, job Job) ([]engine.Finding, map[string]engine.Tally, error) {
	var findings []engine.Finding
	tallies, err := set.Evaluate(ctx, job, func(f engine.Finding) error {
		findings = append(findings, f)
		return nil
	})
	slices.SortFunc(findings, func(a, b engine.Finding) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.ResourceID, b.ResourceID))
	})
	return findings, tallies, err
}

// judged is the result of one policy on one token in a covered workspace.
func judged(t testing.TB, set *Set, s engine.Subject) (engine.Status, engine.Finding) {
	t.Helper()
	findings, tallies := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: rows(s)})
	for _, tally := range tallies {
		for status := range tally {
			if len(findings) == 0 {
				return status, engine.Finding{}
			}
			return status, findings[0]
		}
	}
	t.Fatal("no result")
	return "", engine.Finding{}
}

func difference(a, b any) string { return cmpdiff.Diff(a, b) }

// problemsOf loads files that must not load.
func problemsOf(t testing.TB, files map[string]string) policy.Problems {
	t.Helper()
	_, err := Load(t.Context(), schemas(t), pack("pack", files))
	var problems policy.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("want problems, got %v", err)
	}
	return problems
}
