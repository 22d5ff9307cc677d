package eval

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"

	"patrol/engine"
	"patrol/engine/eval/sandbox"
	"patrol/engine/policy"
	"patrol/engine/policy/prefilter"
)

// assignment is a policy under the tuning of one workspace.
type assignment struct {
	*policy.Compiled
	severity        engine.Severity
	seen            seen              // the input that follows from what the policy reads
	params          map[string]any    // as evidence: params.<name>
	term            *ast.Term         // input.params
	slow            *atomic.Int32     // evaluations that took a fifth of their time or more
	said, allowance int64             // bytes of messages and evidence, in a sandbox
	overdue         *atomic.Int32     // evaluations that ran out of time
	filter          *prefilter.Filter // nil: run it on every token
	timed           bool              // in a forecast: it refers to the moment itself
}

// maxOverdue is how often a policy may run out of time in one job. After that
// the rest of its results are errors at once, or an audit would take days.
const maxOverdue = 3

// maxSlow is how often it may take a fifth of its time.
const maxSlow = 20

func newAssignment(p *policy.Compiled, t policy.Tuning) (*assignment, error) {
	params, err := p.Tuned(t)
	if err != nil {
		return nil, err
	}
	value, err := ast.InterfaceToValue(params)
	if err != nil {
		return nil, fmt.Errorf("policy %s: parameters: %w", p.ID, err)
	}
	a := &assignment{Compiled: p, seen: seenBy(p.Reads.Fields), severity: p.Severity, params: paramEvidence(params), term: ast.NewTerm(value), overdue: &atomic.Int32{}, slow: &atomic.Int32{}, allowance: 1 << 20}
	if t.Severity != "" {
		a.severity = t.Severity
	}
	return a, nil
}

// outcome is a result before it becomes a finding.
type outcome struct {
	status   engine.Status
	message  string
	evidence map[string]any
}

func failure(err error) outcome { return outcome{status: engine.Errored, message: err.Error()} }

// judge evaluates one resource at a time; each worker has one.
type judge struct {
	view     *workspaceView
	asOf     *ast.Term
	clock    clock
	watch    *watch
	deadline time.Duration
	queries  map[*policy.Compiled]*topdown.Query
	begin    func(policy string) // in a sandbox: says what is in hand
}

// zeros stands for randomness, which no allowed builtin uses.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

var _ io.Reader = zeros{}

func newJudge(ctx context.Context, e *evaluation, assignments []*assignment) (*judge, error) {
	j := &judge{
		view: e.view, asOf: ast.StringTerm(rfc3339(e.job.AsOf)),
		clock: e.clock, watch: &watch{}, deadline: e.options.Deadline, queries: map[*policy.Compiled]*topdown.Query{},
	}
	data, err := newNoData(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range assignments {
		j.queries[a.Compiled] = data.query(a, e.job.AsOf, j.watch).
			WithIndexing(!e.options.Plain).WithEarlyExit(!e.options.Plain)
	}
	return j, nil
}

// noData is an empty store: policies have no data but the library.
type noData struct {
	store storage.Store
	txn   storage.Transaction
}

func newNoData(ctx context.Context) (noData, error) {
	store := inmem.New()
	txn, err := store.NewTransaction(ctx, storage.TransactionParams{})
	if err != nil {
		return noData{}, fmt.Errorf("prepare evaluation: %w", err)
	}
	return noData{store, txn}, nil
}

// query prepares a policy to be run in the sandbox.
func (d noData) query(a *assignment, asOf time.Time, cancel topdown.Cancel) *topdown.Query {
	return topdown.NewQuery(a.Query).
		WithCompiler(a.Compiler).WithStore(d.store).WithTransaction(d.txn).
		WithCancel(cancel).WithStrictBuiltinErrors(true).
		WithMetrics(metrics.NoOp()).WithTime(asOf).WithSeed(zeros{})
}

// token judges a token.
func (j *judge) token(ctx context.Context, a *assignment, s *subject) outcome {
	if status, settled := j.settle(a, s); settled {
		return outcome{status: status}
	}
	return j.decide(ctx, a, j.tokenInput(a, s), s)
}

// settle is the result on a token where the policy need not be run for it.
func (j *judge) settle(a *assignment, s *subject) (status engine.Status, settled bool) {
	if !judges(a.Judges, s.Facts.Expired) {
		return engine.NotApplicable, true
	}
	if a.Reads.Fields&s.unknown != 0 {
		return "", false
	}
	return a.filter.Settle(&s.Subject)
}

// tokenInput shows a policy what of the token it refers to, which is all that it
// can tell from everything.
func (j *judge) tokenInput(a *assignment, s *subject) *ast.Term {
	return j.input(a, a.seen.pairs(j.view, s)...)
}

// workspace judges the workspace itself, of which every field is known by now.
func (j *judge) workspace(ctx context.Context, a *assignment) outcome {
	return j.decide(ctx, a, j.input(a), &subject{})
}

// judges: a token whose expiry is unknown counts as live.
func judges(which engine.Judges, expired *bool) bool {
	switch which {
	case engine.JudgesAll:
		return true
	case engine.JudgesExpired:
		return expired != nil && *expired
	}
	return expired == nil || !*expired
}

func (j *judge) input(a *assignment, more ...[2]*ast.Term) *ast.Term {
	fields := append(more,
		[2]*ast.Term{ast.InternedTerm("as_of"), j.asOf},
		[2]*ast.Term{ast.InternedTerm("params"), a.term},
		[2]*ast.Term{ast.InternedTerm("workspace"), j.view.term})
	return ast.NewTerm(ast.NewObject(fields...))
}

func (j *judge) decide(ctx context.Context, a *assignment, input *ast.Term, s *subject) outcome {
	deny, applies, err := j.run(ctx, a, input)
	if err != nil {
		return failure(err)
	}
	if !applies && a.Applicable.Needs == nil {
		return failure(errNoSet)
	}
	if !applies {
		return j.unlessUnknown(a.Applicable.Fields, s, outcome{status: engine.NotApplicable})
	}
	d, err := readDeny(deny)
	switch {
	case err != nil:
		return failure(err)
	case len(d.messages) == 0:
		return j.unlessUnknown(a.Reads.Fields, s, outcome{status: engine.Pass})
	case a.Reads.Weak&s.unknown != 0:
		// It fired, but perhaps only because of what is missing.
		return j.unlessUnknown(a.Reads.Weak, s, outcome{})
	}
	return outcome{status: engine.Fail, message: d.message(), evidence: d.evidence(a.Compiled, input.Value, a.params)}
}

func (j *judge) unlessUnknown(read engine.FieldSet, s *subject, otherwise outcome) outcome {
	missing := read & s.unknown
	if missing == 0 {
		return otherwise
	}
	names := missing.Names()
	message := "unknown: " + strings.Join(names, ", ")
	if why := defects(names, s.Token.Defects); why != "" {
		message += " (" + why + ")"
	}
	return outcome{status: engine.Unknown, message: message, evidence: map[string]any{"unknown": names}}
}

// defects tells which of the platform's fields were defective behind the names.
func defects(names []string, found []engine.Defect) string {
	var why []string
	for _, defect := range found {
		if concerns(names, defect.Field) {
			why = append(why, defect.Field+": "+defect.Reason)
		}
	}
	return strings.Join(why, ", ")
}

func concerns(names []string, answer string) bool {
	return slices.ContainsFunc(engine.Fields(), func(f engine.Field) bool { return slices.Contains(names, f.Name) && slices.Contains(f.Answer, answer) })
}

// run evaluates the query. Without a result the policy does not apply.
func (j *judge) run(ctx context.Context, a *assignment, input *ast.Term) (deny ast.Value, applies bool, err error) {
	if a.overdue.Load() >= maxOverdue {
		return nil, false, sandbox.Overdue(j.deadline)
	}
	if a.slow.Load() >= maxSlow {
		return nil, false, fmt.Errorf("evaluation is given up: %d took more than %v", maxSlow, j.deadline/5)
	}
	if j.begin != nil {
		j.begin(a.ID)
	}
	begun := j.clock.now()
	j.watch.begin(begun)
	defer func() {
		j.watch.end()
		if j.clock.now()-begun > int64(j.deadline/5) {
			a.slow.Add(1)
		}
	}()
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("evaluation panicked: %v", fault)
		}
	}()
	err = j.queries[a.Compiled].WithInput(input).Iter(ctx, func(result topdown.QueryResult) error {
		deny, applies = result[policy.DenyVar].Value, true
		return nil
	})
	if topdown.IsCancel(err) && ctx.Err() == nil {
		a.overdue.Add(1)
		err = sandbox.Overdue(j.deadline)
	}
	return deny, applies, err
}

var errNoRows = errors.New("the snapshot has tokens, the job has none")

// filters are the prefilters of a set, by all that a policy refers to beside tokens and
// their people: made once, they serve all workspaces that are alike in that.
type filters struct {
	mu    sync.Mutex
	known map[string]madeFilter
}

type madeFilter struct {
	filter *prefilter.Filter
	err    error
}

// prefilter is the policy's under the known part of its input, or why it has none.
func (f *filters) prefilter(ctx context.Context, a *assignment, known *ast.Term) (*prefilter.Filter, error) {
	key := a.ID + " " + a.term.String()
	for _, ref := range a.Reads.Refs {
		switch policy.Word(ref, 1) {
		case "":
			return nil, errors.New("it reads input as a whole")
		case "workspace", "as_of":
			value, err := known.Value.Find(ref[1:])
			key += " " + ref.String()
			if err == nil {
				key += "=" + value.String()
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	made, is := f.known[key]
	if !is {
		made.filter, made.err = prefilter.New(ctx, a.Compiler, a.Package, known)
		if ctx.Err() == nil {
			f.known[key] = made
		}
	}
	return made.filter, made.err
}

// comparesTokens reports whether policies compare tokens with one another.
func comparesTokens(assignments []*assignment) bool {
	return slices.ContainsFunc(assignments, func(a *assignment) bool { return a.Reads.Fields&peerFields() != 0 })
}

// watch is the deadline of one worker's evaluations, as OPA's topdown.Cancel.
// A timer per evaluation would cost more than most evaluations do; a guard
// looks at all workers now and then instead.
type watch struct {
	current atomic.Uint64 // number of the evaluation under way
	since   atomic.Int64  // when it began, ns on the guard's clock; 0 between evaluations
	stopped atomic.Uint64 // number of the last evaluation that was stopped
	all     atomic.Bool   // the whole job was cancelled
}

func (w *watch) begin(now int64) {
	w.since.Store(now)
	w.current.Add(1)
}

func (w *watch) end() { w.since.Store(0) }

// Cancel stops the evaluation under way.
func (w *watch) Cancel() { w.stopped.Store(w.current.Load()) }

// Cancelled reports whether the evaluation under way is to stop.
func (w *watch) Cancelled() bool {
	return w.stopped.Load() == w.current.Load() || w.all.Load()
}

// overdue stops an evaluation that began before limit. The number is read
// first: if the worker goes on to another meanwhile, the stop hits nothing.
func (w *watch) overdue(limit int64) {
	number, since := w.current.Load(), w.since.Load()
	if since != 0 && since < limit && w.current.Load() == number {
		w.stopped.Store(number)
	}
}

// clock counts ns from the start of a job. It bounds how long things take and
// never reaches a policy.
type clock struct{ start time.Time }

func (c clock) now() int64 { return int64(time.Since(c.start)) + 1 }

// guard stops overdue evaluations until ctx ends, and then whatever runs.
func guard(ctx context.Context, c clock, deadline time.Duration, judges []*judge) {
	ticker := time.NewTicker(max(time.Millisecond, min(deadline/4, 100*time.Millisecond)))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, j := range judges {
				j.watch.all.Store(true)
			}
			return
		case <-ticker.C:
			for _, j := range judges {
				j.watch.overdue(c.now() - int64(deadline))
			}
		}
	}
}
