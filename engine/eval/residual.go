package eval

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// residual is what partial evaluation leaves of a query while token, owner and
// creator are not known: the query has a result when one of the bodies does.
type residual struct {
	bodies  []ast.Body
	support map[string][]*ast.Rule // rules that the bodies refer to, by name
}

// Limits of partial evaluation. Beyond them a policy is run on every token.
const (
	residualDeadline = 500 * time.Millisecond
	maxBodies        = 256
)

// tokenInputs are what changes from token to token.
func tokenInputs() []*ast.Term {
	return []*ast.Term{ast.MustParseTerm("input.token"), ast.MustParseTerm("input.owner"), ast.MustParseTerm("input.creator")}
}

// reduce evaluates a query as far as the known input allows.
func reduce(ctx context.Context, c *ast.Compiler, query ast.Body, unknown []*ast.Term, known *ast.Term) (r residual, err error) {
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
	timer := time.AfterFunc(residualDeadline, cancel.Cancel)
	defer timer.Stop()
	bodies, support, err := topdown.NewQuery(query).
		WithCompiler(c).WithStore(store).WithTransaction(txn).WithInput(known).WithUnknowns(unknown).
		WithCancel(cancel).WithStrictBuiltinErrors(true).WithMetrics(metrics.NoOp()).WithSeed(zeros{}).
		PartialRun(ctx)
	if err != nil {
		return r, err
	}
	if len(bodies) > maxBodies {
		return r, fmt.Errorf("%d alternatives, more than %d", len(bodies), maxBodies)
	}
	return residual{bodies, rulesByName(support)}, nil
}

func rulesByName(modules []*ast.Module) map[string][]*ast.Rule {
	rules := map[string][]*ast.Rule{}
	for _, module := range modules {
		for _, rule := range module.Rules {
			name := module.Package.Path.Append(ast.StringTerm(string(rule.Head.Name))).String()
			rules[name] = append(rules[name], rule)
		}
	}
	return rules
}

// everyPattern reports whether each pattern of regex.match is a text that compiles.
func (r residual) everyPattern() bool {
	good := true
	visit := ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.Expr:
			if operatorName(x) == ast.RegexMatch.Name {
				good = good && compiles(x.Operand(0))
			}
		case ast.Call:
			if x[0].String() == ast.RegexMatch.Name {
				good = good && compiles(x[1])
			}
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

// callsPattern reports whether an expression has a regex.match whose pattern is
// no literal.
func callsPattern(e *ast.Expr) bool {
	return !residual{bodies: []ast.Body{ast.NewBody(e)}}.everyPattern()
}

// rules are those that a reference such as data.partial.__not0_1__ names, when
// each of them says no more than that its body holds.
func (r residual) rules(ref ast.Ref) ([]*ast.Rule, bool) {
	rules := r.support[ref.String()]
	simple := len(rules) > 0 && !slices.ContainsFunc(rules, func(rule *ast.Rule) bool {
		return rule.Default || rule.Else != nil || len(rule.Head.Args) > 0 || rule.Head.RuleKind() != ast.SingleValue ||
			rule.Head.Value == nil || !rule.Head.Value.Equal(ast.InternedTerm(true))
	})
	return rules, simple
}
