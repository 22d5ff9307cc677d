package eval

import (
	"fmt"
	"math"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"

	"patrol/engine"
)

// translation turns a residual into conditions. What has no translation is left
// out of the conjunction, so that the conditions hold at least where the
// residual does. Where nothing was left out they hold exactly there.
type translation struct {
	residual
	compiler *ast.Compiler
	dropped  []Dropped
}

// Dropped is an expression that is left to Rego.
type Dropped struct {
	Expr   string // Rego
	Reason string
}

// alternatives translates a disjunction.
func (t *translation) alternatives(bodies []ast.Body) (engine.Any, bool) {
	any, exact := engine.Any{}, true
	for _, body := range bodies {
		all, whole := t.body(body)
		any, exact = append(any, all), exact && whole
	}
	return any, exact
}

// body translates a conjunction.
func (t *translation) body(body ast.Body) (engine.All, bool) {
	b := conjunction{translation: t, vars: map[ast.Var]engine.Value{}, exact: true, all: engine.All{}}
	for _, expr := range body {
		b.add(expr)
	}
	return b.all, b.exact
}

// conjunction is a body under translation.
type conjunction struct {
	*translation
	vars    map[ast.Var]engine.Value // what variables stand for
	all     engine.All
	exact   bool
	negates bool // within a negation no variable is new
}

func (b *conjunction) add(e *ast.Expr) {
	c, reason := b.expr(e)
	if reason == "" {
		b.all = append(b.all, c...)
		return
	}
	b.exact = false
	b.dropped = append(b.dropped, Dropped{e.String(), reason})
	if !e.Negated {
		b.all = append(b.all, b.present(e)...)
	}
}

// expr translates an expression exactly, or says why it cannot.
func (b *conjunction) expr(e *ast.Expr) (engine.All, string) {
	if len(e.With) > 0 {
		return nil, "it changes the input"
	}
	if e.Negated {
		return b.negated(e)
	}
	switch terms := e.Terms.(type) {
	case *ast.Term:
		return b.truth(terms)
	case []*ast.Term:
		return b.call(e)
	}
	return nil, "it runs over elements"
}

func (b *conjunction) negated(e *ast.Expr) (engine.All, string) {
	inner := e.Copy()
	inner.Negated = false
	b.negates = true
	c, reason := b.expr(inner)
	b.negates = false
	if reason != "" {
		return nil, reason
	}
	return engine.All{engine.Not{Of: c}}, ""
}

// truth translates a term that stands alone.
func (b *conjunction) truth(term *ast.Term) (engine.All, string) {
	switch v := term.Value.(type) {
	case ast.Ref:
		if rules, ok := b.rules(v); ok {
			return b.rule(rules)
		}
		fact, tpe := b.fact(v)
		switch {
		case tpe == nil:
			return nil, "it is no fact"
		case types.Compare(tpe, types.B) == 0:
			return engine.All{isTrue(fact)}, ""
		}
		return engine.All{engine.Known{Fact: fact}}, ""
	case ast.Boolean:
		if bool(v) {
			return engine.All{}, ""
		}
		return engine.All{engine.Any{}}, ""
	}
	return nil, "its truth cannot be asked"
}

func isTrue(v engine.Value) engine.Condition {
	return engine.Compare{Op: engine.Equal, Left: v, Right: engine.Constant{Of: true}}
}

// rule translates a rule that partial evaluation made.
func (b *conjunction) rule(rules []*ast.Rule) (engine.All, string) {
	var bodies []ast.Body
	for _, rule := range rules {
		bodies = append(bodies, rule.Body)
	}
	inner := translation{residual: b.residual, compiler: b.compiler}
	any, exact := inner.alternatives(bodies)
	if !exact {
		return nil, fmt.Sprintf("within it, %s: %s", inner.dropped[0].Expr, inner.dropped[0].Reason)
	}
	return engine.All{any}, ""
}

func (b *conjunction) call(e *ast.Expr) (engine.All, string) {
	operands := e.Operands()
	if op, ok := comparison(operatorName(e)); ok && len(operands) == 2 {
		return b.compare(op, operands[0], operands[1])
	}
	builtin := ast.BuiltinMap[operatorName(e)]
	if builtin == nil {
		return nil, "it calls a rule"
	}
	arity := len(builtin.Decl.FuncArgs().Args)
	if len(operands) == arity {
		return b.test(builtin.Name, operands)
	}
	output := operands[arity]
	return b.compare(engine.Equal, ast.CallTerm(append([]*ast.Term{ast.NewTerm(e.Operator())}, operands[:arity]...)...), output)
}

func comparison(name string) (engine.Comparison, bool) {
	switch name {
	case ast.Equality.Name, ast.Equal.Name:
		return engine.Equal, true
	case ast.NotEqual.Name:
		return engine.NotEqual, true
	case ast.LessThan.Name:
		return engine.Less, true
	case ast.LessThanEq.Name:
		return engine.LessOrEqual, true
	case ast.GreaterThan.Name:
		return engine.Greater, true
	case ast.GreaterThanEq.Name:
		return engine.GreaterOrEqual, true
	}
	return "", false
}

func (b *conjunction) compare(op engine.Comparison, left, right *ast.Term) (engine.All, string) {
	if op == engine.Equal && !b.negates {
		if c, bound, reason := b.bind(left, right); bound {
			return c, reason
		}
		if c, bound, reason := b.bind(right, left); bound {
			return c, reason
		}
	}
	l, lt := b.value(left)
	r, rt := b.value(right)
	switch {
	case lt == nil || rt == nil:
		return nil, "it compares more than facts and constants"
	case types.Compare(lt, rt) != 0:
		return nil, "it compares different types"
	case types.Compare(lt, types.B) == 0 && op != engine.Equal && op != engine.NotEqual:
		return nil, "truth values are not ordered"
	}
	return engine.All{engine.Compare{Op: op, Left: l, Right: r}}, ""
}

// bind lets a variable that is new stand for a value, which must be there.
func (b *conjunction) bind(to, from *ast.Term) (c engine.All, bound bool, reason string) {
	name, ok := to.Value.(ast.Var)
	if _, taken := b.vars[name]; !ok || taken {
		return nil, false, ""
	}
	v, tpe := b.value(from)
	if tpe == nil {
		return nil, true, "its value cannot be asked"
	}
	b.vars[name] = v
	return presence(v), true, ""
}

// presence is what must be there for a value to be.
func presence(v engine.Value) engine.All {
	switch v := v.(type) {
	case engine.Fact:
		return engine.All{engine.Known{Fact: v}}
	case engine.Call:
		var all engine.All
		for _, arg := range v.Args {
			all = append(all, presence(arg)...)
		}
		return all
	}
	return engine.All{}
}

// test translates a builtin that gives true or false.
func (b *conjunction) test(name string, operands []*ast.Term) (engine.All, string) {
	switch name {
	case ast.Member.Name:
		return b.member(operands[0], operands[1])
	case ast.StartsWith.Name:
		return b.textTest(engine.StartsWith, operands[0], operands[1])
	case ast.EndsWith.Name:
		return b.textTest(engine.EndsWith, operands[0], operands[1])
	case ast.Contains.Name:
		return b.textTest(engine.Contains, operands[0], operands[1])
	case ast.RegexMatch.Name:
		if !compiles(operands[0]) {
			return nil, "the pattern is no constant"
		}
		return b.textTest(engine.Matches, operands[1], operands[0])
	}
	if tpe, ok := typeTest(name); ok {
		return b.isType(operands[0], tpe)
	}
	if f, ok := function(name); ok && f != engine.Count && len(operands) == 1 {
		return b.truth(operands[0]) // every text is true
	}
	return nil, "there is no counterpart of " + name
}

func typeTest(name string) (types.Type, bool) {
	switch name {
	case ast.IsBoolean.Name:
		return types.B, true
	case ast.IsNumber.Name:
		return types.N, true
	case ast.IsString.Name:
		return types.S, true
	}
	return nil, false
}

// isType: a fact that is there is of the type that the schema gives it.
func (b *conjunction) isType(term *ast.Term, want types.Type) (engine.All, string) {
	v, tpe := b.value(term)
	switch {
	case tpe == nil:
		return nil, "it tests more than a fact"
	case types.Compare(tpe, want) != 0:
		return engine.All{engine.Any{}}, ""
	}
	return presence(v), ""
}

func (b *conjunction) textTest(f engine.Function, text, constant *ast.Term) (engine.All, string) {
	v, tpe := b.value(text)
	pattern, ok := constant.Value.(ast.String)
	if tpe == nil || types.Compare(tpe, types.S) != 0 || !ok {
		return nil, "it is no test of a fact by a constant"
	}
	return engine.All{engine.Test{Function: f, Args: []engine.Value{v, engine.Constant{Of: string(pattern)}}}}, ""
}

func (b *conjunction) member(element, list *ast.Term) (engine.All, string) {
	v, tpe := b.value(element)
	constants, ok := b.constants(list, tpe)
	if tpe == nil || !ok {
		return nil, "it is no test of a fact by a constant list"
	}
	return engine.All{engine.In{Value: v, List: constants}}, ""
}

// constants are those elements of a constant list that have the type: no other
// can be equal.
func (b *conjunction) constants(list *ast.Term, of types.Type) ([]engine.Constant, bool) {
	if of == nil || !list.IsGround() {
		return nil, false
	}
	out, good := []engine.Constant{}, true
	take := func(element *ast.Term) {
		switch element.Value.(type) {
		case ast.Null, ast.Boolean, ast.Number, ast.String, *ast.Array, ast.Object, ast.Set:
			v, tpe := b.value(element)
			c, ok := v.(engine.Constant)
			if ok && types.Compare(tpe, of) == 0 {
				out = append(out, c)
			}
			if _, number := element.Value.(ast.Number); number && !ok {
				good = false
			}
		default:
			good = false
		}
	}
	switch v := list.Value.(type) {
	case *ast.Array:
		v.Foreach(take)
	case ast.Set:
		v.Foreach(take)
	default:
		return nil, false
	}
	return out, good
}

// value translates a term; its type is nil when it has no translation.
func (b *conjunction) value(term *ast.Term) (engine.Value, types.Type) {
	switch v := term.Value.(type) {
	case ast.String:
		return engine.Constant{Of: string(v)}, types.S
	case ast.Boolean:
		return engine.Constant{Of: bool(v)}, types.B
	case ast.Number:
		return number(v)
	case ast.Var:
		if known, ok := b.vars[v]; ok {
			return known, b.typeOf(known)
		}
	case ast.Ref:
		fact, tpe := b.fact(v)
		if scalarType(tpe) {
			return fact, tpe
		}
	case ast.Call:
		return b.function(v)
	}
	return nil, nil
}

// number keeps numbers that Go compares as Rego does.
func number(n ast.Number) (engine.Value, types.Type) {
	if i, ok := n.Int64(); ok {
		return engine.Constant{Of: i}, types.N
	}
	const exact = 1 << 53
	if f, ok := n.Float64(); ok && math.Abs(f) < exact {
		return engine.Constant{Of: f}, types.N
	}
	return nil, nil
}

func (b *conjunction) typeOf(v engine.Value) types.Type {
	switch v := v.(type) {
	case engine.Fact:
		return b.compiler.TypeEnv.GetByRef(refOf(v))
	case engine.Call:
		if v.Function == engine.Count {
			return types.N
		}
		return types.S
	case engine.Constant:
		switch v.Of.(type) {
		case string:
			return types.S
		case bool:
			return types.B
		}
		return types.N
	}
	return nil
}

func (b *conjunction) function(call ast.Call) (engine.Value, types.Type) {
	name, ok := function(call[0].String())
	if !ok || len(call) != 2 {
		return nil, nil
	}
	if name == engine.Count {
		if fact, tpe := b.listFact(call[1]); tpe != nil {
			return engine.Call{Function: name, Args: []engine.Value{fact}}, types.N
		}
		return nil, nil
	}
	v, tpe := b.value(call[1])
	if tpe == nil || types.Compare(tpe, types.S) != 0 {
		return nil, nil
	}
	return engine.Call{Function: name, Args: []engine.Value{v}}, types.S
}

func function(name string) (engine.Function, bool) {
	switch name {
	case ast.Lower.Name:
		return engine.Lower, true
	case ast.Upper.Name:
		return engine.Upper, true
	case ast.TrimSpace.Name:
		return engine.TrimSpace, true
	case ast.Count.Name:
		return engine.Count, true
	}
	return "", false
}

// fact is the fact that a reference names, with its type; nil when it names none.
func (b *conjunction) fact(ref ast.Ref) (engine.Fact, types.Type) {
	object, name := word(ref, 1), word(ref, 2)
	if len(ref) != 3 || !ref[0].Equal(ast.InputRootDocument) || name == "" {
		return "", nil
	}
	switch object {
	case "token":
		return engine.Fact(name), b.compiler.TypeEnv.GetByRef(ref)
	case "owner", "creator":
		return engine.Fact(object + "." + name), b.compiler.TypeEnv.GetByRef(ref)
	}
	return "", nil
}

// refOf is the way back.
func refOf(f engine.Fact) ast.Ref {
	object, name, ofParty := strings.Cut(string(f), ".")
	if !ofParty {
		object, name = "token", string(f)
	}
	return ast.Ref{ast.InputRootDocument, ast.StringTerm(object), ast.StringTerm(name)}
}

func (b *conjunction) listFact(term *ast.Term) (engine.Fact, types.Type) {
	ref, ok := term.Value.(ast.Ref)
	if !ok {
		return "", nil
	}
	fact, tpe := b.fact(ref)
	if _, ok := tpe.(*types.Array); !ok {
		return "", nil
	}
	return fact, tpe
}

func scalarType(t types.Type) bool {
	return t != nil && (types.Compare(t, types.B) == 0 || types.Compare(t, types.N) == 0 || types.Compare(t, types.S) == 0)
}

// present is what an expression that has no translation needs at least: the
// facts that it refers to, and an element of the lists that it runs over or
// looks into.
func (b *conjunction) present(e *ast.Expr) engine.All {
	var all engine.All
	if _, every := e.Terms.(*ast.Every); every || len(e.With) > 0 {
		return nil // what it runs over need not be there, and input may be another
	}
	if operatorName(e) == ast.Member.Name {
		if fact, tpe := b.listFact(e.Operand(1)); tpe != nil {
			return engine.All{notEmpty(fact)}
		}
	}
	visitor := ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			return true
		case ast.Ref:
			all = append(all, b.presentRef(x)...)
		}
		return false
	})
	if term, ok := e.Terms.(*ast.Term); ok {
		visitor.Walk(term)
	}
	for _, operand := range e.Operands() {
		visitor.Walk(operand)
	}
	return all
}

func (b *conjunction) presentRef(ref ast.Ref) engine.All {
	if len(ref) < 3 {
		return nil
	}
	fact, tpe := b.fact(ref[:3])
	switch _, list := tpe.(*types.Array); {
	case tpe == nil:
		return nil
	case list && len(ref) > 3:
		return engine.All{notEmpty(fact)}
	}
	return engine.All{engine.Known{Fact: fact}}
}

func notEmpty(list engine.Fact) engine.Condition {
	return engine.Compare{
		Op: engine.Greater, Right: engine.Constant{Of: int64(0)},
		Left: engine.Call{Function: engine.Count, Args: []engine.Value{list}},
	}
}
