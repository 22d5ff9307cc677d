package prefilter

import (
	"maps"
	"regexp"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
)

// totality finds the expressions that cannot fail, whatever token is there.
// Only what stands before the first one that may fail can spare a policy its
// run: a token for which the rest would have ended in an error is no pass.
//
// An expression is total when every builtin in it is total over arguments of
// the types that they are sure to have, and when no rule in it can give two
// values at once, which is an error too.
type totality struct {
	compiler *ast.Compiler
	judged   map[string]bool
	depth    int // of rules below the body asked about
}

// scope is the type of each variable that is bound.
type scope map[ast.Var]types.Type

// totalBuiltins never fail on arguments of the declared types.
func totalBuiltins() []string {
	return []string{
		"equal", "neq", "lt", "lte", "gt", "gte", "internal.member_2",
		"count", "sort", "abs", "array.concat", "array.reverse", "object.get", "object.keys",
		"contains", "startswith", "endswith", "lower", "upper", "trim", "trim_left", "trim_right",
		"trim_prefix", "trim_suffix", "trim_space", "concat", "split", "replace",
		"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "type_name",
	}
}

// prefix is the number of expressions before the first that may fail.
func (t *totality) prefix(body ast.Body, s scope) int {
	for i, expr := range body {
		if !t.expr(expr, s) {
			return i
		}
	}
	return len(body)
}

func (t *totality) body(body ast.Body, s scope) bool { return t.prefix(body, s) == len(body) }

func (t *totality) expr(e *ast.Expr, s scope) bool {
	if len(e.With) > 0 {
		return false
	}
	switch terms := e.Terms.(type) {
	case *ast.Term:
		return t.term(terms, s)
	case *ast.Every:
		return t.term(terms.Domain, s) && t.body(terms.Body, maps.Clone(s))
	case []*ast.Term:
		return t.terms(e.Operands(), s) && t.call(e, s)
	}
	return false
}

func (t *totality) call(e *ast.Expr, s scope) bool {
	operator, operands := e.Operator(), e.Operands()
	if operator[0].Equal(ast.DefaultRootDocument) {
		return t.function(operator, operands, s)
	}
	name := operator.String()
	if name == ast.Equality.Name {
		t.bind(operands[0], operands[1], s)
		t.bind(operands[1], operands[0], s)
		return true
	}
	builtin := ast.BuiltinMap[name]
	if builtin == nil || !t.totalBuiltin(name, operands) {
		return false
	}
	return t.fit(builtin.Decl, operands, s)
}

// totalBuiltin takes a pattern that is no literal for good in the body asked
// about itself, where its values can be looked at: see body.
func (t *totality) totalBuiltin(name string, operands []*ast.Term) bool {
	if name == ast.RegexMatch.Name {
		return t.depth == 0 || compiles(operands[0])
	}
	return slices.Contains(totalBuiltins(), name)
}

// compiles reports whether a term is a regular expression that compiles.
func compiles(pattern *ast.Term) bool {
	text, ok := pattern.Value.(ast.String)
	if !ok {
		return false
	}
	_, err := regexp.Compile(string(text))
	return err == nil
}

// fit holds arguments against the declaration and binds the output.
func (t *totality) fit(declared *types.Function, operands []*ast.Term, s scope) bool {
	wanted := declared.FuncArgs().Args
	if len(operands) < len(wanted) {
		return false
	}
	for i, want := range wanted {
		if !fits(t.typeOf(operands[i], s), want) {
			return false
		}
	}
	if len(operands) > len(wanted) {
		bindVar(operands[len(wanted)], declared.Result(), s)
	}
	return true
}

func (t *totality) bind(to, from *ast.Term, s scope) { bindVar(to, t.typeOf(from, s), s) }

func bindVar(to *ast.Term, tpe types.Type, s scope) {
	name, ok := to.Value.(ast.Var)
	if _, bound := s[name]; ok && !bound && tpe != nil {
		s[name] = tpe
	}
}

// typeOf is the type that a term is sure to have; nil when none is sure.
func (t *totality) typeOf(term *ast.Term, s scope) types.Type {
	switch v := term.Value.(type) {
	case ast.Var:
		return s[v]
	case ast.Ref:
		if v[0].Equal(ast.InputRootDocument) || v[0].Equal(ast.DefaultRootDocument) {
			return t.compiler.TypeEnv.GetByRef(v)
		}
		return nil
	case *ast.SetComprehension:
		return types.NewSet(types.A)
	case *ast.ArrayComprehension:
		return types.NewArray(nil, types.A)
	case ast.Boolean, ast.Number, ast.String, *ast.Array, ast.Object, ast.Set:
		return t.compiler.TypeEnv.GetByValue(v)
	}
	return nil
}

// fits reports whether every value of one type is of the other.
func fits(have, want types.Type) bool {
	if have == nil {
		return false
	}
	if union, ok := named(want).(types.Any); ok {
		return len(union) == 0 || slices.ContainsFunc(union, func(one types.Type) bool { return fits(have, one) })
	}
	if union, ok := have.(types.Any); ok {
		return len(union) > 0 && !slices.ContainsFunc(union, func(one types.Type) bool { return !fits(one, want) })
	}
	switch want := named(want).(type) {
	case types.Boolean, types.Number, types.String, types.Null:
		return types.Compare(have, want) == 0
	case *types.Array:
		array, ok := have.(*types.Array)
		return ok && want.Len() == 0 && fits(elements(array), want.Dynamic())
	case *types.Set:
		set, ok := have.(*types.Set)
		return ok && fits(set.Of(), want.Of())
	case *types.Object:
		_, ok := have.(*types.Object)
		return ok && want.Len() == 0 && openObject(want)
	}
	return false
}

func named(t types.Type) types.Type {
	if n, ok := t.(*types.NamedType); ok {
		return n.Type
	}
	return t
}

// elements is the type of an array's elements; that of none fits everything.
func elements(array *types.Array) types.Type {
	of := array.Dynamic()
	for i := range array.Len() {
		of = types.Or(of, array.Select(i))
	}
	if of == nil {
		return types.S // none: the array is empty
	}
	return of
}

func openObject(o *types.Object) bool {
	dynamic := o.DynamicProperties()
	return dynamic != nil && anything(dynamic.Key) && anything(dynamic.Value)
}

func anything(t types.Type) bool {
	union, ok := t.(types.Any)
	return ok && len(union) == 0
}

func (t *totality) terms(terms []*ast.Term, s scope) bool {
	return !slices.ContainsFunc(terms, func(term *ast.Term) bool { return !t.term(term, s) })
}

func (t *totality) term(term *ast.Term, s scope) bool {
	switch v := term.Value.(type) {
	case ast.Null, ast.Boolean, ast.Number, ast.String, ast.Var:
		return true
	case ast.Ref:
		return t.terms(v[1:], s) && (!v[0].Equal(ast.DefaultRootDocument) || t.document(v))
	case *ast.Array:
		return !v.Until(func(element *ast.Term) bool { return !t.term(element, s) })
	case ast.Set:
		return !v.Until(func(element *ast.Term) bool { return !t.term(element, s) })
	case ast.Object: // two keys that turn out equal are an error
		return !v.Until(func(key, value *ast.Term) bool { return !key.IsGround() || !t.term(value, s) })
	case *ast.ArrayComprehension:
		inner := maps.Clone(s)
		return t.body(v.Body, inner) && t.term(v.Term, inner)
	case *ast.SetComprehension:
		inner := maps.Clone(s)
		return t.body(v.Body, inner) && t.term(v.Term, inner)
	}
	return false
}

// document judges the rules behind a reference.
func (t *totality) document(ref ast.Ref) bool {
	rules := t.compiler.GetRules(ref.ConstantPrefix())
	if len(rules) == 0 {
		return false
	}
	groups := map[string][]*ast.Rule{}
	for _, rule := range rules {
		if len(rule.Head.Args) > 0 {
			continue // functions are called, not referred to
		}
		key := rule.Ref().String()
		groups[key] = append(groups[key], rule)
	}
	for _, group := range groups {
		if !singleValued(group) || !t.rules(group, nil) {
			return false
		}
	}
	return true
}

func (t *totality) function(operator ast.Ref, operands []*ast.Term, s scope) bool {
	rules := t.compiler.GetRulesExact(operator)
	if len(rules) == 0 || !singleValued(rules) {
		return false
	}
	arity := len(rules[0].Head.Args)
	if len(operands) < arity {
		return false
	}
	args := make([]types.Type, arity)
	for i := range args {
		args[i] = t.typeOf(operands[i], s)
	}
	if !t.rules(rules, args) {
		return false
	}
	if declared, ok := t.compiler.TypeEnv.GetByRef(operator).(*types.Function); ok && len(operands) > arity {
		bindVar(operands[arity], declared.Result(), s)
	}
	return true
}

// rules judges rules of one name, called with arguments of these types.
func (t *totality) rules(rules []*ast.Rule, args []types.Type) bool {
	key := rules[0].Ref().String()
	for _, arg := range args {
		key += " "
		if arg != nil {
			key += types.Sprint(arg)
		}
	}
	total, known := t.judged[key]
	if !known {
		total = !slices.ContainsFunc(rules, func(rule *ast.Rule) bool { return !t.rule(rule, args) })
		t.judged[key] = total
	}
	return total
}

func (t *totality) rule(rule *ast.Rule, args []types.Type) bool {
	t.depth++
	defer func() { t.depth-- }()
	for r := rule; r != nil; r = r.Else {
		s := scope{}
		for i, arg := range r.Head.Args {
			if i < len(args) {
				bindVar(arg, args[i], s)
			}
		}
		if !t.body(r.Body, s) || !t.head(r.Head, s) {
			return false
		}
	}
	return true
}

func (t *totality) head(h *ast.Head, s scope) bool {
	return (h.Key == nil || t.term(h.Key, s)) && (h.Value == nil || t.term(h.Value, s))
}

// singleValued reports whether rules of one name cannot give two values at
// once: sets; rules that all give the same constant; one rule without choice.
func singleValued(rules []*ast.Rule) bool {
	if rules[0].Head.RuleKind() == ast.MultiValue {
		return rules[0].Ref().IsGround()
	}
	rules = slices.DeleteFunc(slices.Clone(rules), func(r *ast.Rule) bool { return r.Default })
	if len(rules) == 0 {
		return true
	}
	if !rules[0].Ref().IsGround() {
		return false
	}
	return sameConstant(rules) || len(rules) == 1 && withoutChoice(rules[0])
}

func sameConstant(rules []*ast.Rule) bool {
	first := rules[0].Head.Value
	for _, rule := range rules {
		for r := rule; r != nil; r = r.Else {
			if !ast.IsScalar(r.Head.Value.Value) || !r.Head.Value.Equal(first) {
				return false
			}
		}
	}
	return true
}

// withoutChoice: the body holds in one way at most, because no reference in it
// runs over the elements of something.
func withoutChoice(rule *ast.Rule) bool {
	for r := rule; r != nil; r = r.Else {
		bound := map[ast.Var]bool{}
		for _, arg := range r.Head.Args {
			addVars(bound, arg)
		}
		for _, expr := range r.Body {
			if chooses(expr, bound) {
				return false
			}
			addVars(bound, expr)
		}
		if chooses(r.Head, bound) {
			return false
		}
	}
	return true
}

func addVars(bound map[ast.Var]bool, x any) {
	ast.WalkVars(x, func(v ast.Var) bool {
		bound[v] = true
		return false
	})
}

// chooses reports whether a reference has an element that is still free, or a
// builtin gives several outputs.
func chooses(x any, bound map[ast.Var]bool) bool {
	found := false
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension, *ast.Every:
			return true // one value, however many choices are within
		case *ast.Expr:
			if builtin := ast.BuiltinMap[operatorName(x)]; builtin != nil && builtin.Relation {
				found = true
			}
		case ast.Ref:
			for _, element := range x[1:] {
				name, isVar := element.Value.(ast.Var)
				found = found || isVar && !bound[name] || !isVar && !element.IsGround()
			}
		}
		return found
	}).Walk(x)
	return found
}

func operatorName(e *ast.Expr) string {
	if !e.IsCall() {
		return ""
	}
	return e.Operator().String()
}
