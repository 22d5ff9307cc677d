package eval

import (
	"context"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
)

// Pushdown tells on which tokens a policy must be run.
// docs/decisions/0010-a-prefilter-spares-rego.md says why it is safe.
type Pushdown struct {
	Fires   engine.Condition // holds whenever the policy fires or fails to evaluate, and maybe more often
	Applies engine.Condition // exactly when the policy applies
	Every   string           // why the policy is run on every token that it judges; "" when it is not
	Asked   []string         // the residual queries, in Rego
	Dropped []Dropped        // what of them is not asked
}

// maxConditions bounds the conditions of a rule.
const maxConditions = 300

// errEvery is why a policy must be run on every token.
type errEvery string

func (e errEvery) Error() string { return string(e) }

// pushdown finds out what can be asked of a policy under these parameters.
func (a *assignment) pushdown(ctx context.Context, unknown []*ast.Term, known *ast.Term) Pushdown {
	s := sieve{ctx: ctx, assignment: a, unknown: unknown, known: known, total: newTotality(a.compiler)}
	if err := s.conditions(); err != nil {
		s.out.Every = err.Error()
		s.out.Applies, s.out.Fires = engine.All{}, engine.All{}
	}
	return s.out
}

// sieve is a pushdown in the making.
type sieve struct {
	*assignment
	ctx     context.Context
	unknown []*ast.Term
	known   *ast.Term
	total   *totality
	out     Pushdown
}

func (s *sieve) conditions() (err error) {
	for _, ref := range s.reads.refs {
		if len(ref) == 1 {
			return errEvery("it reads input as a whole")
		}
	}
	if s.out.Applies, err = s.applies(); err != nil {
		return err
	}
	if s.out.Fires, err = s.fires(); err != nil {
		return err
	}
	if n := size(s.out.Applies) + size(s.out.Fires); n > maxConditions {
		return errEvery(fmt.Sprintf("%d conditions are more than %d", n, maxConditions))
	}
	return nil
}

func (s *sieve) reduce(query ast.Body) (residual, error) {
	return reduce(s.ctx, s.compiler, query, s.unknown, s.known)
}

func (s *sieve) rule(name string) ast.Ref {
	return ast.MustParseRef("data." + s.Package).Append(ast.StringTerm(name))
}

// applies must be exact: it tells a pass from what does not apply.
func (s *sieve) applies() (engine.Condition, error) {
	ref := s.rule("applicable")
	if len(s.compiler.GetRulesExact(ref)) == 0 {
		return engine.All{}, nil
	}
	if !s.total.document(ref) {
		return nil, errEvery("applicable may fail to evaluate")
	}
	r, err := s.reduce(ast.NewBody(ast.Equality.Expr(ast.NewTerm(ref), ast.InternedTerm(true))))
	if err != nil {
		return nil, err
	}
	t := translation{residual: r, compiler: s.compiler}
	any, exact := t.alternatives(r.bodies)
	s.note("applicable", r)
	if !exact {
		return nil, errEvery(fmt.Sprintf("applicable must be asked exactly, but %s: %s", t.dropped[0].Expr, t.dropped[0].Reason))
	}
	return any, nil
}

// fires holds wherever deny has an element or may fail to evaluate.
func (s *sieve) fires() (engine.Condition, error) {
	rules := s.compiler.GetRulesExact(s.rule("deny"))
	any := engine.Any{}
	for _, rule := range rules {
		if rule.Head.RuleKind() != ast.MultiValue || !rule.Ref().IsGround() || rule.Else != nil {
			return nil, errEvery("deny is no set")
		}
		some, err := s.body(rule.Body)
		if err != nil {
			return nil, err
		}
		any = append(any, some...)
	}
	return any, nil
}

// body gives the conditions under which a body gets as far as it cannot fail.
func (s *sieve) body(body ast.Body) (engine.Any, error) {
	n, err := s.patterns(body, s.total.prefix(body, scope{}))
	if err != nil {
		return nil, err
	}
	if n < len(body) && n == 0 {
		s.out.Dropped = append(s.out.Dropped, Dropped{body[0].String(), "it may fail to evaluate"})
		return engine.Any{engine.All{}}, nil
	}
	r, err := s.reduce(body[:n])
	if err != nil {
		return nil, err
	}
	t := translation{residual: r, compiler: s.compiler}
	any, _ := t.alternatives(r.bodies)
	s.note("deny", r)
	s.out.Dropped = append(s.out.Dropped, t.dropped...)
	return any, nil
}

// patterns cuts the prefix of a body before the first regex.match whose pattern
// may not compile.
func (s *sieve) patterns(body ast.Body, n int) (int, error) {
	for i, expr := range body[:n] {
		if !callsPattern(expr) {
			continue
		}
		r, err := s.reduce(body[:i+1])
		if err != nil {
			return 0, err
		}
		if !r.everyPattern() {
			return i, nil
		}
	}
	return n, nil
}

func (s *sieve) note(rule string, r residual) {
	for _, body := range r.bodies {
		s.out.Asked = append(s.out.Asked, rule+" if "+body.String())
	}
}

// size counts the conditions within one.
func size(c engine.Condition) int {
	n := 1
	switch c := c.(type) {
	case engine.All:
		for _, one := range c {
			n += size(one)
		}
	case engine.Any:
		for _, one := range c {
			n += size(one)
		}
	case engine.Not:
		n += size(c.Of)
	}
	return n
}
