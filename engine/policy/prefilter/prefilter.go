// Package prefilter finds, without running a policy, that it passes or does not
// apply on a token. OPA's partial evaluation leaves of the policy what depends on the
// token; that becomes a Go function. What it lets through the policy decides alone.
// docs/decisions/0010-a-prefilter-spares-rego.md says why results stay the same.
package prefilter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"

	"patrol/engine"
)

// Filter is for the tokens that the policy judges and of which it refers to nothing unknown.
type Filter struct {
	applies, fires test
}

type test = func(*engine.Subject) bool

// Settle is the result on a token; open when the policy must be run. A nil filter
// settles nothing.
func (f *Filter) Settle(t *engine.Subject) (status engine.Status, settled bool) {
	switch {
	case f == nil:
		return "", false
	case !f.applies(t):
		return engine.NotApplicable, true
	case !f.fires(t):
		return engine.Pass, true
	}
	return "", false
}

// Limits beyond which a policy is run on every token.
const (
	deadline  = 500 * time.Millisecond
	maxBodies = 256
	maxTests  = 300
)

// New makes the filter of a compiled policy while the known part of its input stays the
// same. The error says why the policy must be run on every token.
func New(ctx context.Context, c *ast.Compiler, pkg string, known *ast.Term) (*Filter, error) {
	b := &builder{compiler: c, known: known, total: &totality{compiler: c, judged: map[string]bool{}}}
	rule := func(name string) ast.Ref { return ast.MustParseRef("data." + pkg).Append(ast.StringTerm(name)) }
	f := &Filter{applies: func(*engine.Subject) bool { return true }}
	// applicable must be exact: it tells a pass from what does not apply.
	if applicable := rule("applicable"); len(c.GetRulesExact(applicable)) > 0 {
		if !b.total.document(applicable) {
			return nil, errors.New("applicable may fail to evaluate")
		}
		r, err := b.reduce(ctx, ast.NewBody(ast.Equality.Expr(ast.NewTerm(applicable), ast.InternedTerm(true))))
		if err != nil {
			return nil, err
		}
		var dropped string
		if f.applies, dropped = b.either(r); dropped != "" {
			return nil, errors.New("applicable must be asked exactly, but " + dropped)
		}
	}
	// deny fires at most where one of its bodies gets as far as it cannot fail.
	var some []test
	for _, deny := range c.GetRulesExact(rule("deny")) {
		if deny.Head.RuleKind() != ast.MultiValue || !deny.Ref().IsGround() || deny.Else != nil {
			return nil, errors.New("deny is no set")
		}
		n, err := b.surely(ctx, deny.Body)
		if err != nil {
			return nil, err
		}
		r, err := b.reduce(ctx, deny.Body[:n])
		if err != nil {
			return nil, err
		}
		fires, _ := b.either(r)
		some = append(some, fires)
	}
	if b.tests > maxTests {
		return nil, fmt.Errorf("%d conditions are more than %d", b.tests, maxTests)
	}
	f.fires = anyOf(some)
	return f, nil
}

// builder makes functions of what is left of a policy.
type builder struct {
	compiler *ast.Compiler
	known    *ast.Term
	total    *totality
	tests    int
}

// surely is how many expressions of a body cannot fail. A regex.match whose pattern
// comes from a parameter counts as long as each of its patterns compiles.
func (b *builder) surely(ctx context.Context, body ast.Body) (int, error) {
	n := b.total.prefix(body, scope{})
	for i, expr := range body[:n] {
		if (residual{bodies: []ast.Body{ast.NewBody(expr)}}).everyPattern() {
			continue
		}
		r, err := b.reduce(ctx, body[:i+1])
		if err != nil {
			return 0, err
		}
		if !r.everyPattern() {
			return i, nil
		}
	}
	return n, nil
}

// residual is what partial evaluation leaves of a query while token, owner and
// creator are not known: the query has a result when one of the bodies does.
type residual struct {
	bodies  []ast.Body
	support map[string][]*ast.Rule // rules that the bodies refer to, by name
}

// reduce evaluates a query as far as the known input allows.
func (b *builder) reduce(ctx context.Context, query ast.Body) (r residual, err error) {
	if len(query) == 0 {
		return residual{bodies: []ast.Body{{}}}, nil
	}
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("partial evaluation panicked: %v", fault)
		}
	}()
	store := inmem.New() // empty: policies have no data but the library
	txn, err := store.NewTransaction(ctx, storage.TransactionParams{})
	if err != nil {
		return r, err
	}
	defer store.Abort(ctx, txn)
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(deadline, cancel.Cancel)
	defer timer.Stop()
	bodies, support, err := topdown.NewQuery(query).
		WithCompiler(b.compiler).WithStore(store).WithTransaction(txn).WithInput(b.known).
		WithUnknowns([]*ast.Term{ast.MustParseTerm("input.token"), ast.MustParseTerm("input.owner"), ast.MustParseTerm("input.creator")}).
		WithCancel(cancel).WithStrictBuiltinErrors(true).WithMetrics(metrics.NoOp()).
		PartialRun(ctx)
	if err != nil {
		return r, err
	}
	if len(bodies) > maxBodies {
		return r, fmt.Errorf("%d alternatives, more than %d", len(bodies), maxBodies)
	}
	r = residual{bodies, map[string][]*ast.Rule{}}
	for _, module := range support {
		for _, rule := range module.Rules {
			name := module.Package.Path.Append(ast.StringTerm(string(rule.Head.Name))).String()
			r.support[name] = append(r.support[name], rule)
		}
	}
	return r, nil
}

// everyPattern reports whether each pattern of regex.match is a text that compiles.
func (r residual) everyPattern() bool {
	good := true
	visit := ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.Expr:
			good = good && (operatorName(x) != ast.RegexMatch.Name || compiles(x.Operand(0)))
		case ast.Call:
			good = good && (x[0].String() != ast.RegexMatch.Name || compiles(x[1]))
		}
		return !good
	})
	for _, body := range r.bodies {
		visit.Walk(body)
	}
	for _, rules := range r.support {
		for _, rule := range rules {
			visit.Walk(rule)
		}
	}
	return good
}

func anyOf(tests []test) test {
	if len(tests) == 1 {
		return tests[0]
	}
	return func(s *engine.Subject) bool {
		for _, holds := range tests {
			if holds(s) {
				return true
			}
		}
		return false
	}
}

func allOf(tests []test) test {
	if len(tests) == 1 {
		return tests[0]
	}
	return func(s *engine.Subject) bool {
		for _, holds := range tests {
			if !holds(s) {
				return false
			}
		}
		return true
	}
}
