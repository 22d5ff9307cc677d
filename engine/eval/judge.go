package eval

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	timed, steady   bool              // in a forecast: it refers to the moment itself; it refers to nothing that time changes
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
	a := &assignment{
		Compiled: p, seen: seenBy(p.Reads.Fields), severity: cmp.Or(t.Severity, p.Severity), params: make(map[string]any, len(params)), term: ast.NewTerm(value),
		overdue: &atomic.Int32{}, slow: &atomic.Int32{}, allowance: 1 << 20,
	}
	for name, param := range params {
		a.params["params."+name] = param
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
	deadline time.Duration
	queries  map[*policy.Compiled]*topdown.Query
	begin    func(policy string) // in a sandbox: says what is in hand

	stop  *stop // of the evaluation under way, by timer; nil: to be made
	timer *time.Timer
}

// stop ends an evaluation, as OPA's topdown.Cancel: when it is late, or its job has ended.
type stop struct {
	late  atomic.Bool
	ended <-chan struct{}
}

func (s *stop) Cancel() { s.late.Store(true) }

func (s *stop) Cancelled() bool {
	select {
	case <-s.ended:
		return true
	default:
		return s.late.Load()
	}
}

// zeros stands for randomness, which no allowed builtin uses.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// newJudge prepares policies to be run, over no data but the library.
func newJudge(ctx context.Context, o Options, view *workspaceView, asOf time.Time, assignments []*assignment) (*judge, error) {
	j := &judge{view: view, asOf: ast.StringTerm(rfc3339(asOf)), deadline: o.Deadline, queries: map[*policy.Compiled]*topdown.Query{}}
	store := inmem.New()
	txn, err := store.NewTransaction(ctx, storage.TransactionParams{})
	if err != nil {
		return nil, fmt.Errorf("prepare evaluation: %w", err)
	}
	for _, a := range assignments {
		j.queries[a.Compiled] = topdown.NewQuery(a.Query).
			WithCompiler(a.Compiler).WithStore(store).WithTransaction(txn).WithStrictBuiltinErrors(true).
			WithMetrics(metrics.NoOp()).WithTime(asOf).WithSeed(zeros{}).
			WithIndexing(!o.Plain).WithEarlyExit(!o.Plain)
	}
	return j, nil
}

// token judges a token. A policy is shown what of it it refers to, which is all that
// it can tell from everything.
func (j *judge) token(ctx context.Context, a *assignment, s *subject) outcome {
	if status, settled := j.settle(a, s); settled {
		return outcome{status: status}
	}
	return j.decide(ctx, a, j.input(a, a.seen.pairs(j.view, s)...), s)
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
	messages, details, err := readDeny(deny)
	switch {
	case err != nil:
		return failure(err)
	case len(messages) == 0:
		return j.unlessUnknown(a.Reads.Fields, s, outcome{status: engine.Pass})
	case a.Reads.Weak&s.unknown != 0:
		// It fired, but perhaps only because of what is missing.
		return j.unlessUnknown(a.Reads.Weak, s, outcome{})
	}
	return outcome{status: engine.Fail, message: strings.Join(messages, "; "), evidence: a.evidence(input.Value, details)}
}

func (j *judge) unlessUnknown(read engine.FieldSet, s *subject, otherwise outcome) outcome {
	missing := read & s.unknown
	if missing == 0 {
		return otherwise
	}
	names := missing.Names()
	message := "unknown: " + strings.Join(names, ", ")
	var why []string // which fields of the platform's answer were defective
	for _, defect := range s.Token.Defects {
		if slices.ContainsFunc(engine.Fields(), func(f engine.Field) bool {
			return slices.Contains(names, f.Name) && slices.Contains(f.Answer, defect.Field)
		}) {
			why = append(why, defect.Field+": "+defect.Reason)
		}
	}
	if len(why) > 0 {
		message += " (" + strings.Join(why, ", ") + ")"
	}
	return outcome{status: engine.Unknown, message: message, evidence: map[string]any{"unknown": names}}
}

// run evaluates the query. Without a result the policy does not apply.
func (j *judge) run(ctx context.Context, a *assignment, input *ast.Term) (deny ast.Value, applies bool, err error) {
	switch {
	case ctx.Err() != nil:
		return nil, false, ctx.Err()
	case a.overdue.Load() >= maxOverdue:
		return nil, false, sandbox.Overdue(j.deadline)
	case a.slow.Load() >= maxSlow:
		return nil, false, fmt.Errorf("evaluation is given up: %d took more than %v", maxSlow, j.deadline/5)
	}
	if j.begin != nil {
		j.begin(a.ID)
	}
	if j.stop == nil {
		j.stop = &stop{}
		j.timer = time.AfterFunc(j.deadline, j.stop.Cancel)
	} else {
		j.timer.Reset(j.deadline)
	}
	j.stop.ended = ctx.Done()
	begun := time.Now()
	defer func() {
		if !j.timer.Stop() {
			j.stop = nil // the timer may be about to ring, which is not for the next evaluation
		}
		if time.Since(begun) > j.deadline/5 {
			a.slow.Add(1)
		}
		if fault := recover(); fault != nil {
			err = fmt.Errorf("evaluation panicked: %v", fault)
		}
	}()
	err = j.queries[a.Compiled].WithCancel(j.stop).WithInput(input).Iter(ctx, func(result topdown.QueryResult) error {
		deny, applies = result[policy.DenyVar].Value, true
		return nil
	})
	if topdown.IsCancel(err) && ctx.Err() == nil {
		a.overdue.Add(1)
		err = sandbox.Overdue(j.deadline)
	}
	return deny, applies, err
}

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

// fieldsRead are the fields of tokens that policies look at.
func fieldsRead(assignments []*assignment) (all engine.FieldSet) {
	for _, a := range assignments {
		all |= a.Reads.Fields
	}
	return all
}
