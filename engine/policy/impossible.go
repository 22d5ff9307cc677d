package policy

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
)

// impossible finds comparisons that can never hold: of a field that has a closed
// set of values (enum in the schema) with a text that is none of them, as in
// input.owner.kind == "usr" or input.owner.kind in {"usr", "user"}.
func impossible(compiler *ast.Compiler, known schema, report func(at *ast.Location, text string)) {
	for _, module := range compiler.Modules {
		for _, rule := range module.Rules {
			// The compiler has given each variable a name of its own, so that one table serves all bodies.
			bound := map[ast.Var]ast.Ref{}
			ast.WalkExprs(rule, func(e *ast.Expr) bool {
				if e.IsEquality() {
					bindRef(bound, e.Operand(0), e.Operand(1))
					bindRef(bound, e.Operand(1), e.Operand(0))
				}
				return false
			})
			check := func(at *ast.Location, field, value *ast.Term) {
				ref, isRef := resolved(bound, field, 0)
				text, isText := value.Value.(ast.String)
				if !isRef || !isText {
					return
				}
				if words := known.wordsOf(ref); words != nil && !slices.Contains(words, string(text)) {
					report(at, fmt.Sprintf("%s is never %q: %s", ref, string(text), engine.DidYouMean(string(text), words)))
				}
			}
			ast.WalkExprs(rule, func(e *ast.Expr) bool {
				if !e.IsCall() || len(e.Operands()) < 2 {
					return false
				}
				a, b := e.Operand(0), e.Operand(1)
				switch e.Operator().String() {
				case ast.Equality.Name, ast.Equal.Name, ast.NotEqual.Name:
					check(e.Location, a, b)
					check(e.Location, b, a)
				case ast.Member.Name:
					ast.WalkTerms(b, func(element *ast.Term) bool {
						check(e.Location, a, element)
						return false
					})
				}
				return false
			})
		}
	}
}

func bindRef(bound map[ast.Var]ast.Ref, to, from *ast.Term) {
	name, isVar := to.Value.(ast.Var)
	ref, isRef := from.Value.(ast.Ref)
	if _, known := bound[name]; isVar && isRef && !known {
		bound[name] = ref
	}
}

// resolved is the reference into input that a term stands for:
// grant.kind is input.workspace.grants[_].kind after some grant in input.workspace.grants.
func resolved(bound map[ast.Var]ast.Ref, t *ast.Term, depth int) (ast.Ref, bool) {
	ref, isRef := t.Value.(ast.Ref)
	if name, isVar := t.Value.(ast.Var); isVar {
		ref, isRef = bound[name]
	}
	if !isRef || depth > 20 {
		return nil, false
	}
	if ref[0].Equal(ast.InputRootDocument) {
		return ref, true
	}
	head, ok := resolved(bound, ref[0], depth+1)
	if _, isVar := ref[0].Value.(ast.Var); !ok || !isVar {
		return nil, false
	}
	return head.Concat(ref[1:]), true
}

// wordsOf are the values that a field may have; nil where the schema has no
// closed set for it.
func (s schema) wordsOf(ref ast.Ref) []string {
	at := map[string]any(s)
	for _, term := range ref[1:] {
		name, isText := term.Value.(ast.String)
		var below any
		for _, part := range schema(at).parts(s) {
			properties, _ := part["properties"].(map[string]any)
			if property, ok := properties[string(name)]; ok && isText {
				below = property
			} else if items, ok := part["items"]; ok && !isText {
				below = items
			}
		}
		next, ok := below.(map[string]any)
		if !ok {
			return nil
		}
		at = next
	}
	var words []string
	for _, part := range schema(at).parts(s) {
		values, _ := part["enum"].([]any)
		for _, value := range values {
			word, isText := value.(string)
			if !isText {
				return nil
			}
			words = append(words, word)
		}
	}
	return words
}
