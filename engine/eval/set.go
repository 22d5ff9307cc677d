package eval

import (
	"cmp"
	"context"
	"time"

	"patrol/engine"
	"patrol/engine/eval/sandbox"
	"patrol/engine/policy"
)

// Set is policies that can be run. It is safe for concurrent use.
type Set struct {
	*policy.Set

	options Options
	waiting *sandbox.Pool // of a set that is kept
	filters *filters
}

// Options change how policies are run, never what they find.
type Options struct {
	// Deadline bounds the evaluation of one policy on one resource; 0 means 5 s.
	Deadline time.Duration
	// Workers is the number of goroutines; 0 means GOMAXPROCS.
	Workers int
	// Sandbox runs the policies of packs that are not trusted in a process of
	// its own; nil runs them in this one.
	Sandbox sandbox.Command
	// NoPrefilter runs every policy on every token.
	NoPrefilter bool
	// Plain switches rule indexing and early exit off, for tests that compare
	// the results with and without them.
	Plain bool
}

const defaultDeadline = 5 * time.Second

func (s *Set) deadline() time.Duration { return cmp.Or(s.options.Deadline, defaultDeadline) }

// Load is policy.Load, to be run.
func Load(ctx context.Context, packs ...policy.Pack) (*Set, error) {
	loaded, err := policy.Load(ctx, packs...)
	if err != nil {
		return nil, err
	}
	return &Set{Set: loaded, filters: &filters{known: map[string]madeFilter{}}}, nil
}

// Select makes a set of the policies that keep accepts.
func (s *Set) Select(keep func(engine.Policy) bool) *Set {
	chosen := *s
	chosen.Set = s.Set.Select(keep)
	return &chosen
}

// With makes a set that runs under other options. It is not kept: a sandbox that
// waits has been told the options of before.
func (s *Set) With(options Options) *Set {
	changed := *s
	changed.options, changed.waiting = options, nil
	return &changed
}

// RunTests is policy.Set.RunTests for the tests whose full name matches filter. Where
// packs did not come with patrol, the tests of those alone run, in a process of its own.
func (s *Set) RunTests(ctx context.Context, filter string) ([]policy.TestResult, []policy.TestCoverage, error) {
	run := policy.TestRun{Filter: filter, Deadline: s.deadline()}
	if s.options.Sandbox != nil && s.HasThirdParty() {
		if err := run.Check(); err != nil {
			return nil, nil, err
		}
		return s.testsInSandbox(ctx, filter)
	}
	return s.Set.RunTests(ctx, run)
}

// Lint is policy.Set.Lint; where packs did not come with patrol, in a process of its own.
func (s *Set) Lint(ctx context.Context, pack string) (policy.Problems, error) {
	if s.options.Sandbox != nil && s.HasThirdParty() {
		found, _, err := s.askTests(ctx, "lint policies", testsRequest{Lint: pack})
		return found.Problems, err
	}
	return s.Set.Lint(ctx, pack, policy.TestRun{Deadline: s.deadline()})
}
