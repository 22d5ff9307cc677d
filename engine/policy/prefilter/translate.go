package prefilter

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
)

// A residual is translated expression by expression. What has no translation is left
// out of its conjunction, so that the function is true at least where the residual
// holds. Where nothing was left out it is true exactly there.

// either translates a disjunction. dropped names an expression that was left out; "" when none was.
func (b *builder) either(r residual) (holds test, dropped string) {
	var some []test
	for _, body := range r.bodies {
		c := conjunction{builder: b, residual: r, vars: map[ast.Var]value{}}
		for _, expr := range body {
			c.add(expr)
		}
		some, dropped = append(some, allOf(c.all)), cmp.Or(dropped, c.dropped)
	}
	return anyOf(some), dropped
}

// conjunction is a body under translation.
type conjunction struct {
	*builder
	residual
	vars    map[ast.Var]value // what variables stand for
	all     []test
	dropped string
	negates bool // within a negation no variable is new
}

func (c *conjunction) add(e *ast.Expr) {
	c.tests++
	if holds := c.expr(e); holds != nil {
		c.all = append(c.all, holds)
		return
	}
	c.dropped = e.String() + " has no counterpart"
	if !e.Negated {
		c.all = append(c.all, c.needed(e)...)
	}
}

// value is a term whose value Go can read. One of the readers of its field is set; a value
// that is absent makes every comparison false, as in Rego.
type value struct {
	engine.Field

	constant any // string, bool or int64; nil when it is read from the token
}

func (v *value) known() bool { return v.Number != nil || v.Text != nil || v.Truth != nil }

func fixed(of any) (v value) {
	v.constant = of
	switch of := of.(type) {
	case string:
		v.Text = func(*engine.Subject) *string { return &of }
	case bool:
		v.Truth = func(*engine.Subject) *bool { return &of }
	case int64:
		v.Number = func(*engine.Subject) *int64 { return &of }
	}
	return v
}

// value translates a term; it is not known when it has no translation.
func (c *conjunction) value(term *ast.Term) (v value) {
	switch t := term.Value.(type) {
	case ast.String:
		return fixed(string(t))
	case ast.Boolean:
		return fixed(bool(t))
	case ast.Number: // fields are whole numbers; a fraction to compare them with has no translation
		if whole, ok := t.Int64(); ok {
			return fixed(whole)
		}
	case ast.Var:
		return c.vars[t]
	case ast.Ref:
		v.Field, _ = fieldOf(t)
	case ast.Call:
		if len(t) == 2 {
			return c.function(t[0].String(), t[1])
		}
	}
	return v
}

func (c *conjunction) function(name string, of *ast.Term) (v value) {
	if name == ast.Count.Name {
		if list := listOf(of); list != nil {
			v.Number = func(s *engine.Subject) *int64 { return new(int64(len(list(s)))) }
		}
		return v
	}
	change := map[string]func(string) string{ast.Lower.Name: strings.ToLower, ast.Upper.Name: strings.ToUpper, ast.TrimSpace.Name: strings.TrimSpace}[name]
	if text := c.value(of).Text; text != nil && change != nil {
		v.Text = func(s *engine.Subject) *string {
			before := text(s)
			if before == nil {
				return nil
			}
			after := change(*before)
			return &after
		}
	}
	return v
}

// fieldOf is the field that a reference names.
func fieldOf(ref ast.Ref) (engine.Field, bool) {
	if len(ref) != 3 || !ref[0].Equal(ast.InputRootDocument) {
		return engine.Field{}, false
	}
	object, _ := ref[1].Value.(ast.String)
	name, _ := ref[2].Value.(ast.String)
	if object != "token" {
		name = object + "." + name
	}
	i := slices.IndexFunc(fields, func(f engine.Field) bool { return f.Name == string(name) })
	if i < 0 {
		return engine.Field{}, false
	}
	return fields[i], true
}

var fields = engine.Fields()

func listOf(term *ast.Term) func(*engine.Subject) []string {
	if ref, ok := term.Value.(ast.Ref); ok {
		field, _ := fieldOf(ref)
		return field.Texts
	}
	return nil
}

// there holds where a field is; a list is there even when it is empty.
func there(f engine.Field) test {
	switch {
	case f.Number != nil:
		return func(s *engine.Subject) bool { return f.Number(s) != nil }
	case f.Truth != nil:
		return func(s *engine.Subject) bool { return f.Truth(s) != nil }
	case f.Text != nil:
		return func(s *engine.Subject) bool { return f.Text(s) != nil }
	case f.Time != nil:
		return func(s *engine.Subject) bool { return f.Time(s) != nil }
	}
	return func(*engine.Subject) bool { return true }
}

func always(is bool) test { return func(*engine.Subject) bool { return is } }

// expr translates an expression exactly; nil when it cannot.
func (c *conjunction) expr(e *ast.Expr) test {
	if len(e.With) > 0 {
		return nil
	}
	if e.Negated {
		inner := e.Copy()
		inner.Negated = false
		c.negates = true
		holds := c.expr(inner)
		c.negates = false
		if holds == nil {
			return nil
		}
		return func(s *engine.Subject) bool { return !holds(s) }
	}
	switch terms := e.Terms.(type) {
	case *ast.Term:
		return c.alone(terms)
	case []*ast.Term:
		return c.call(e)
	}
	return nil
}

// alone translates a term that stands for its truth: only false and what is absent are not true.
func (c *conjunction) alone(term *ast.Term) test {
	if ref, ok := term.Value.(ast.Ref); ok {
		if rules := c.support[ref.String()]; len(rules) > 0 {
			return c.rules(rules)
		}
		field, ok := fieldOf(ref)
		switch {
		case !ok:
			return nil
		case field.Truth != nil:
			return func(s *engine.Subject) bool { is := field.Truth(s); return is != nil && *is }
		}
		return there(field)
	}
	if is, ok := term.Value.(ast.Boolean); ok {
		return always(bool(is))
	}
	return nil
}

// rules translates those that partial evaluation made, such as data.partial.__not0_1__,
// when each of them says no more than that its body holds.
func (c *conjunction) rules(rules []*ast.Rule) test {
	inner := residual{support: c.support}
	for _, rule := range rules {
		if rule.Default || rule.Else != nil || len(rule.Head.Args) > 0 || rule.Head.RuleKind() != ast.SingleValue ||
			rule.Head.Value == nil || !rule.Head.Value.Equal(ast.InternedTerm(true)) {
			return nil
		}
		inner.bodies = append(inner.bodies, rule.Body)
	}
	holds, dropped := c.either(inner)
	if dropped != "" {
		return nil
	}
	return holds
}

func (c *conjunction) call(e *ast.Expr) test {
	name, operands := operatorName(e), e.Operands()
	if holds, ok := comparisons[name]; ok && len(operands) == 2 {
		return c.compare(name, holds, operands[0], operands[1])
	}
	builtin := ast.BuiltinMap[name]
	if builtin == nil {
		return nil
	}
	arity := len(builtin.Decl.FuncArgs().Args)
	if len(operands) == arity {
		return c.builtin(name, operands)
	}
	call := ast.CallTerm(append([]*ast.Term{ast.NewTerm(e.Operator())}, operands[:arity]...)...)
	return c.compare(ast.Equality.Name, comparisons[ast.Equality.Name], call, operands[arity])
}

var comparisons = map[string]func(int) bool{
	ast.Equality.Name:      func(c int) bool { return c == 0 },
	ast.Equal.Name:         func(c int) bool { return c == 0 },
	ast.NotEqual.Name:      func(c int) bool { return c != 0 },
	ast.LessThan.Name:      func(c int) bool { return c < 0 },
	ast.LessThanEq.Name:    func(c int) bool { return c <= 0 },
	ast.GreaterThan.Name:   func(c int) bool { return c > 0 },
	ast.GreaterThanEq.Name: func(c int) bool { return c >= 0 },
}

func (c *conjunction) compare(name string, holds func(int) bool, left, right *ast.Term) test {
	if equal := name == ast.Equality.Name || name == ast.Equal.Name; equal && !c.negates {
		for _, pair := range [][2]*ast.Term{{left, right}, {right, left}} { // a variable that is new stands for the value
			to, isVar := pair[0].Value.(ast.Var)
			if _, taken := c.vars[to]; !isVar || taken {
				continue
			}
			v := c.value(pair[1])
			if !v.known() {
				return nil
			}
			c.vars[to] = v
			return there(v.Field)
		}
	}
	l, r := c.value(left), c.value(right)
	switch {
	case l.Number != nil && r.Number != nil:
		return both(l.Number, r.Number, holds)
	case l.Text != nil && r.Text != nil:
		return both(l.Text, r.Text, holds)
	case l.Truth != nil && r.Truth != nil && (holds(0) != holds(1)) && holds(1) == holds(-1): // equal or not, never ordered
		return func(s *engine.Subject) bool {
			a, b := l.Truth(s), r.Truth(s)
			return a != nil && b != nil && (*a == *b) == holds(0)
		}
	}
	return nil
}

// both compares what is there.
func both[T cmp.Ordered](left, right func(*engine.Subject) *T, holds func(int) bool) test {
	return func(s *engine.Subject) bool {
		a, b := left(s), right(s)
		return a != nil && b != nil && holds(cmp.Compare(*a, *b))
	}
}

// builtin translates one that gives true or false.
func (c *conjunction) builtin(name string, operands []*ast.Term) test {
	switch name {
	case ast.Member.Name:
		return c.member(operands[0], operands[1])
	case ast.StartsWith.Name:
		return c.textTest(operands[0], operands[1], strings.HasPrefix)
	case ast.EndsWith.Name:
		return c.textTest(operands[0], operands[1], strings.HasSuffix)
	case ast.Contains.Name:
		return c.textTest(operands[0], operands[1], strings.Contains)
	case ast.RegexMatch.Name:
		if !compiles(operands[0]) {
			return nil
		}
		pattern := regexp.MustCompile(string(operands[0].Value.(ast.String)))
		return c.textTest(operands[1], operands[0], func(text, _ string) bool { return pattern.MatchString(text) })
	case ast.IsBoolean.Name, ast.IsNumber.Name, ast.IsString.Name: // what is there is of the type that the schema gives it
		v := c.value(operands[0])
		switch {
		case !v.known():
			return nil
		case name == ast.IsBoolean.Name && v.Truth != nil, name == ast.IsNumber.Name && v.Number != nil, name == ast.IsString.Name && v.Text != nil:
			return there(v.Field)
		}
		return always(false)
	case ast.Lower.Name, ast.Upper.Name, ast.TrimSpace.Name: // every text is true
		if v := c.value(operands[0]); v.Text != nil {
			return there(v.Field)
		}
	}
	return nil
}

func (c *conjunction) textTest(of, constant *ast.Term, holds func(text, part string) bool) test {
	v := c.value(of)
	part, ok := constant.Value.(ast.String)
	if v.Text == nil || !ok {
		return nil
	}
	return func(s *engine.Subject) bool {
		text := v.Text(s)
		return text != nil && holds(*text, string(part))
	}
}

// member tests a value by a constant list. Elements of another type cannot be equal.
func (c *conjunction) member(element, list *ast.Term) test {
	v := c.value(element)
	if !v.known() || !list.IsGround() {
		return nil
	}
	texts, tests, good := map[string]bool{}, []test{}, true
	take := func(one *ast.Term) {
		switch one.Value.(type) {
		case ast.Null, *ast.Array, ast.Object, ast.Set:
			return // of no type that a value has
		}
		w := c.value(one)
		text, isText := w.constant.(string)
		switch {
		case w.constant == nil:
			good = false
		case isText && v.Text != nil:
			texts[text] = true
		case (v.Number != nil) == (w.Number != nil) && (v.Truth != nil) == (w.Truth != nil):
			tests = append(tests, c.compare("", comparisons[ast.Equal.Name], element, one))
		}
	}
	switch l := list.Value.(type) {
	case *ast.Array:
		l.Foreach(take)
	case ast.Set:
		l.Foreach(take)
	default:
		return nil
	}
	if !good {
		return nil
	}
	if v.Text != nil {
		return func(s *engine.Subject) bool {
			text := v.Text(s)
			return text != nil && texts[*text]
		}
	}
	return anyOf(tests)
}

// needed is what an expression that has no translation needs at least: the fields that
// it refers to, and an element of the lists that it runs over or looks into.
func (c *conjunction) needed(e *ast.Expr) (all []test) {
	if _, every := e.Terms.(*ast.Every); every || len(e.With) > 0 {
		return nil // what it runs over need not be there, and input may be another
	}
	notEmpty := func(list func(*engine.Subject) []string) test {
		return func(s *engine.Subject) bool { return len(list(s)) > 0 }
	}
	if operatorName(e) == ast.Member.Name {
		if list := listOf(e.Operand(1)); list != nil {
			return []test{notEmpty(list)}
		}
	}
	visitor := ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			return true
		case ast.Ref:
			if len(x) < 3 {
				break
			}
			switch field, ok := fieldOf(x[:3]); {
			case ok && field.Texts != nil && len(x) > 3:
				all = append(all, notEmpty(field.Texts))
			case ok:
				all = append(all, there(field))
			}
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
