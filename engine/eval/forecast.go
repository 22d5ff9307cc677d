package eval

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"golang.org/x/sync/errgroup"

	"patrol/engine"
	"patrol/engine/policy"
)

// ForecastJob is a snapshot to judge at some instants, ascending.
type ForecastJob struct {
	Snapshot engine.Snapshot
	At       []time.Time
	Tuning   map[string]policy.Tuning // as in Job
	// Tokens streams the tokens as they will be at each instant. It is ranged over
	// once for the policies judged in this process, and once for each instant for
	// those in a sandbox. How tokens compare with one another may be left out where
	// it is not asked for.
	Tokens func(peers bool) iter.Seq2[engine.FutureToken, error]
}

// Forecast judges tokens at each instant, as Evaluate would at each by itself. It
// emits, of each policy on each token, the first failure after the first instant
// if there is none at the first; and, of the first instant, what is unknown or an
// error. It does so from the calling goroutine, in no particular order. A token is
// held in memory once, whatever the number of instants.
func (s *Set) Forecast(ctx context.Context, j ForecastJob, emit func(n int, found engine.Finding) error) error {
	e, err := s.prepare(Job{Snapshot: j.Snapshot, AsOf: j.At[0], Tuning: j.Tuning}, func(found engine.Finding) error { return emit(0, found) })
	if err != nil {
		return err
	}
	f := &forecast{evaluation: e, of: j, emit: emit}
	if err := e.guarded(ctx, s.Resources, f.judge); err != nil {
		return fmt.Errorf("forecast workspace %s: %w", j.Snapshot.Workspace.Name, err)
	}
	return nil
}

// forecast is one under way.
type forecast struct {
	*evaluation
	of   ForecastJob
	emit func(n int, found engine.Finding) error
	days []day
}

// day is what judges need of an instant.
type day struct {
	view        *workspaceView
	asOf        *ast.Term
	assignments []*assignment // with the filters of that instant
}

// dayFinding is a finding at an instant.
type dayFinding struct {
	n     int
	found engine.Finding
}

func (f *forecast) judge(ctx context.Context, judges []*judge, own, thirdParty []*assignment) error {
	if len(own) > 0 {
		f.prepare(ctx, judges[0], own)
		if err := f.judgeOwn(ctx, judges, own); err != nil {
			return err
		}
	}
	if len(thirdParty) == 0 {
		return nil
	}
	return f.judgeThirdPartyDays(ctx, thirdParty)
}

// prepare gives each instant its filters.
func (f *forecast) prepare(ctx context.Context, j *judge, assignments []*assignment) {
	for _, at := range f.of.At {
		d := f.dayAt(at)
		j.on(d)
		for _, a := range assignments {
			gated := *a
			gated.timed = a.refersTo("as_of")
			if !f.options.NoPrefilter {
				gated.filter, _ = f.set.filters.prefilter(ctx, a, j.input(a))
			}
			d.assignments = append(d.assignments, &gated)
		}
		f.days = append(f.days, d)
	}
}

func (f *forecast) dayAt(at time.Time) day {
	view := *f.view
	view.asOf = at.UnixMilli()
	return day{view: &view, asOf: ast.StringTerm(rfc3339(at))}
}

// on has a judge judge at an instant.
func (j *judge) on(d day) { j.view, j.asOf = d.view, d.asOf }

// refersTo reports whether a policy looks at a field of input.
func (a *assignment) refersTo(field string) bool {
	return slices.ContainsFunc(slices.Concat(a.Reads.Refs, a.Applicable.Refs), func(ref ast.Ref) bool {
		return len(ref) == 1 || policy.Word(ref, 1) == field
	})
}

// judgeOwn runs reader → workers → this goroutine, which alone emits.
func (f *forecast) judgeOwn(ctx context.Context, judges []*judge, assignments []*assignment) error {
	group, ctx := errgroup.WithContext(ctx)
	tokens := make(chan []engine.FutureToken, len(judges))
	results := make(chan []dayFinding, len(judges))
	all := f.of.Tokens(comparesTokens(assignments))
	group.Go(func() error { defer close(tokens); return hand(ctx, all, tokens) })
	workers, workCtx := errgroup.WithContext(ctx)
	for _, j := range judges {
		workers.Go(func() error { return f.work(workCtx, j, tokens, results) })
	}
	group.Go(func() error { defer close(results); return workers.Wait() })
	var failed error
	for list := range results {
		if failed != nil {
			continue // until the others have stopped
		}
		if failed = f.take(list); failed != nil {
			group.Go(func() error { return failed })
		}
	}
	if err := group.Wait(); failed == nil {
		return err
	}
	return failed
}

func (f *forecast) take(list []dayFinding) error {
	for _, o := range list {
		if err := f.emit(o.n, o.found.AsAccountKnows()); err != nil {
			return err
		}
	}
	return nil
}

func (f *forecast) work(ctx context.Context, j *judge, tokens <-chan []engine.FutureToken, results chan<- []dayFinding) error {
	for batch := range tokens {
		var found []dayFinding
		for _, p := range batch {
			found = append(found, f.forecast(ctx, j, p)...)
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if err := send(ctx, results, found); err != nil {
			return err
		}
	}
	return nil
}

// forecast judges a token at one instant after the other. By a policy that it
// fails it is not judged again.
func (f *forecast) forecast(ctx context.Context, j *judge, p engine.FutureToken) (found []dayFinding) {
	failed := make([]bool, len(f.days[0].assignments))
	before := make([]lastInput, len(failed))
	s := &subject{}
	for n, d := range f.days {
		t, there := p(n)
		if !there || ctx.Err() != nil {
			return found
		}
		j.on(d)
		s.Subject = t
		d.view.findUnknown(s)
		for i, a := range d.assignments {
			if failed[i] {
				continue
			}
			input := before[i].renew(j, a, s)
			if input == nil {
				continue
			}
			o := j.decide(ctx, a, input, s)
			failed[i] = o.status == engine.Fail
			if reported(n, o.status) {
				found = append(found, dayFinding{n, d.view.finding(a, ofToken(t), o)})
			}
		}
	}
	return found
}

// lastInput is all that a policy sees of a token. As long as it stays the same, so
// does what the policy says.
type lastInput struct {
	fields  [][2]*ast.Term // nil: nothing yet
	unknown engine.FieldSet
}

// renew is the input for the policy; nil where it need not be run: it is settled,
// or sees what it saw when it was run last.
func (v *lastInput) renew(j *judge, a *assignment, s *subject) *ast.Term {
	if _, settled := j.settle(a, s); settled {
		return nil
	}
	now := lastInput{a.seen.pairs(j.view, s), s.unknown & a.Reads.Fields}
	if !a.timed && v.fields != nil && v.unknown == now.unknown && slices.EqualFunc(v.fields, now.fields, samePair) {
		return nil
	}
	*v = now
	return j.input(a, now.fields...)
}

func samePair(a, b [2]*ast.Term) bool { return a[0].Equal(b[0]) && a[1].Equal(b[1]) }

// reported: of the first instant what cannot be judged, of the others what fails.
func reported(n int, status engine.Status) bool {
	if n == 0 {
		return status == engine.Unknown || status == engine.Errored
	}
	return status == engine.Fail
}

// judgeThirdPartyDays judges one instant after the other: a sandbox is told of one.
func (f *forecast) judgeThirdPartyDays(ctx context.Context, thirdParty []*assignment) error {
	failed := map[[2]string]bool{} // policy and token, by the instant before
	for n, at := range f.of.At {
		e := *f.evaluation
		e.view, e.job.AsOf, e.job.Tokens = f.dayAt(at).view, at, func(peers bool) iter.Seq2[engine.Subject, error] { return f.tokensOn(n, peers) }
		e.emit = func(found engine.Finding) error {
			pair := [2]string{found.Policy, found.ResourceID}
			again := failed[pair]
			failed[pair] = again || found.Status == engine.Fail
			if again || !reported(n, found.Status) {
				return nil
			}
			return f.emit(n, found)
		}
		if err := e.judgeThirdParty(ctx, thirdParty); err != nil {
			return err
		}
	}
	return nil
}

// tokensOn are the tokens that are there at the n-th instant.
func (f *forecast) tokensOn(n int, peers bool) iter.Seq2[engine.Subject, error] {
	return func(yield func(engine.Subject, error) bool) {
		for p, err := range f.of.Tokens(peers) {
			if err != nil {
				yield(engine.Subject{}, err)
				return
			}
			if t, there := p(n); there && !yield(t, nil) {
				return
			}
		}
	}
}
