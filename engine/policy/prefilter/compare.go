package prefilter

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
)

// Comparisons reports comparisons whose answer is the same whatever the values
// are, because the two sides have no type in common: every number is less than
// every text, so that `age_days > "90"` never holds and the policy is silent.
// OPA's type checker lets them pass; it checks `==` only.
func Comparisons(compiler *ast.Compiler, report func(at *ast.Location, text string)) {
	t := &totality{compiler: compiler}
	for _, module := range compiler.Modules {
		for _, rule := range module.Rules {
			// The compiler has given each variable a name of its own, so that one scope serves all bodies.
			s := scope{}
			var calls []*ast.Expr
			ast.WalkExprs(rule, func(e *ast.Expr) bool {
				if e.IsCall() {
					calls = append(calls, e)
					t.learn(e, s)
				}
				return false
			})
			for _, e := range calls {
				switch name := e.Operator().String(); name {
				case ast.LessThan.Name, ast.LessThanEq.Name, ast.GreaterThan.Name, ast.GreaterThanEq.Name, ast.NotEqual.Name:
					left, right := t.typeOf(e.Operand(0), s), t.typeOf(e.Operand(1), s)
					if disjoint(left, right) {
						report(e.Location, fmt.Sprintf("%s compares what can never be of one type: %s and %s", ast.BuiltinMap[name].Infix, types.Sprint(left), types.Sprint(right)))
					}
				}
			}
		}
	}
}

// learn binds what a call gives its variables.
func (t *totality) learn(e *ast.Expr, s scope) {
	operands := e.Operands()
	if e.Operator().String() == ast.Equality.Name {
		t.bind(operands[0], operands[1], s)
		t.bind(operands[1], operands[0], s)
		return
	}
	declared, ok := t.compiler.TypeEnv.GetByRef(e.Operator()).(*types.Function)
	if n := len(operands) - 1; ok && n == len(declared.FuncArgs().Args) && declared.Result() != nil {
		bindVar(operands[n], declared.Result(), s)
	}
}

// disjoint reports whether no value can be of both types.
func disjoint(a, b types.Type) bool {
	kindsA, kindsB := kinds(a), kinds(b)
	return len(kindsA) > 0 && len(kindsB) > 0 && !slices.ContainsFunc(kindsA, func(k string) bool { return slices.Contains(kindsB, k) })
}

// kinds are the kinds of value of a type; none when they are not known.
func kinds(t types.Type) []string {
	switch t := named(t).(type) {
	case types.Any:
		var all []string
		for _, one := range t {
			of := kinds(one)
			if len(of) == 0 {
				return nil
			}
			all = append(all, of...)
		}
		return all
	case types.Boolean, types.Null, types.Number, types.String:
		return []string{types.Sprint(t)}
	case *types.Array:
		return []string{"array"}
	case *types.Set:
		return []string{"set"}
	case *types.Object:
		return []string{"object"}
	}
	return nil
}
