package eval

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
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
	e, err := s.start(ctx, Job{Snapshot: j.Snapshot, AsOf: j.At[0], Tuning: j.Tuning}, func(found engine.Finding) error { return emit(0, found) })
	if err == nil && len(e.own) > 0 {
		err = e.forecastOwn(ctx, j, emit)
	}
	if err == nil && len(e.thirdParty) > 0 {
		err = e.forecastThirdParty(ctx, j, emit)
	}
	if err != nil {
		return fmt.Errorf("forecast workspace %s: %w", j.Snapshot.Workspace.Name, err)
	}
	return nil
}

// at is the workspace at another instant.
func (v *workspaceView) at(instant time.Time) *workspaceView {
	moved := *v
	moved.asOf = instant.UnixMilli()
	return &moved
}

// steadyFields are fields that stay as they are while time passes: texts and lists of the
// token and its people, and what the directory says of them.
var steadyFields = sync.OnceValue(func() engine.FieldSet {
	return engine.FieldsWhere(func(f engine.Field) bool {
		object, _ := f.Place()
		return !f.Peers && (f.Text != nil || f.Texts != nil || f.Truth != nil && object != "token")
	})
})

// forecastOwn judges by the policies judged in this process: a token on one day after
// the other. By a policy that the token fails it is not judged again, nor by one that
// sees what it saw when it was run last.
func (e *evaluation) forecastOwn(ctx context.Context, of ForecastJob, emit func(int, engine.Finding) error) error {
	type day struct { // what judges need of an instant
		view        *workspaceView
		asOf        *ast.Term
		assignments []*assignment // with the filters of that instant
	}
	type input struct {
		fields  [][2]*ast.Term // nil: nothing yet
		unknown engine.FieldSet
	}
	type dayFinding struct {
		n     int
		found engine.Finding
	}
	days := make([]day, len(of.At))
	for n, at := range of.At {
		d := day{view: e.view.at(at), asOf: ast.StringTerm(rfc3339(at))}
		first := e.judges[0]
		first.view, first.asOf = d.view, d.asOf
		for _, a := range e.own {
			dated := *a
			dated.timed = slices.ContainsFunc(a.Reads.Refs, func(ref ast.Ref) bool { return len(ref) == 1 || policy.Word(ref, 1) == "as_of" })
			dated.steady = !dated.timed && a.Judges != engine.JudgesExpired && a.Reads.Fields&^steadyFields() == 0
			if !e.options.NoPrefilter {
				dated.filter, _ = e.set.filters.prefilter(ctx, a, first.input(a))
			}
			d.assignments = append(d.assignments, &dated)
		}
		days[n] = d
	}
	read := fieldsRead(e.own)
	forecast := func(ctx context.Context, j *judge, token engine.FutureToken) (found []dayFinding) {
		failed, before := make([]bool, len(e.own)), make([]input, len(e.own))
		s := &subject{}
		read := read
		for n, d := range days {
			t, there := token(n)
			if !there || ctx.Err() != nil {
				return found
			}
			j.view, j.asOf, s.Subject = d.view, d.asOf, t
			d.view.findUnknown(s, read)
			read &^= steadyFields() // from the second day on
			for i, a := range d.assignments {
				if failed[i] || n > 0 && a.steady {
					continue
				}
				if _, settled := j.settle(a, s); settled {
					continue
				}
				now := input{a.seen.pairs(j.view, s), s.unknown & a.Reads.Fields}
				same := func(a, b [2]*ast.Term) bool { return a[0].Equal(b[0]) && a[1].Equal(b[1]) }
				if last := before[i]; !a.timed && last.fields != nil && last.unknown == now.unknown && slices.EqualFunc(last.fields, now.fields, same) {
					continue
				}
				before[i] = now
				o := j.decide(ctx, a, j.input(a, now.fields...), s)
				failed[i] = o.status == engine.Fail
				if reported(n, o.status) {
					found = append(found, dayFinding{n, d.view.finding(a, ofToken(t), o)})
				}
			}
		}
		return found
	}
	judge := func(ctx context.Context, j *judge, tokens []engine.FutureToken) (found []dayFinding) {
		for _, token := range tokens {
			found = append(found, forecast(ctx, j, token)...)
		}
		return found
	}
	return sideBySide(ctx, e.judges, of.Tokens(read&peerFields() != 0), judge, func(found []dayFinding) error {
		for _, f := range found {
			if err := emit(f.n, f.found.AsAccountKnows()); err != nil {
				return err
			}
		}
		return nil
	})
}

// reported: of the first instant what cannot be judged, of the others what fails.
func reported(n int, status engine.Status) bool {
	if n == 0 {
		return status == engine.Unknown || status == engine.Errored
	}
	return status == engine.Fail
}

// forecastThirdParty judges one instant after the other: a sandbox is told of one.
func (e *evaluation) forecastThirdParty(ctx context.Context, of ForecastJob, emit func(int, engine.Finding) error) error {
	failed := map[[2]string]bool{} // policy and token, by the instant before
	for n, at := range of.At {
		dated := *e
		dated.view, dated.job.AsOf = e.view.at(at), at
		dated.job.Tokens = func(peers bool) iter.Seq2[engine.Subject, error] {
			return func(yield func(engine.Subject, error) bool) {
				for token, err := range of.Tokens(peers) {
					if err != nil {
						yield(engine.Subject{}, err)
						return
					}
					if t, there := token(n); there && !yield(t, nil) {
						return
					}
				}
			}
		}
		dated.emit = func(found engine.Finding) error {
			pair := [2]string{found.Policy, found.ResourceID}
			again := failed[pair]
			failed[pair] = again || found.Status == engine.Fail
			if again || !reported(n, found.Status) {
				return nil
			}
			return emit(n, found)
		}
		if err := dated.judgeThirdParty(ctx, e.thirdParty); err != nil {
			return err
		}
	}
	return nil
}
