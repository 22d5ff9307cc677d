package eval

import (
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/dependencies"

	"patrol/engine"
)

// reads is what a rule reads of its input, found in the compiled Rego, through
// the library.
type reads struct {
	refs  []ast.Ref       // constant prefixes of input.…, sorted
	needs map[string]bool // sections and settings.<key> that they rest on
	facts facts           // fields of token, owner and creator
	weak  facts           // those of facts whose absence may make the rule fire: read under not, in a comprehension, with a default
}

// findReads analyses data.<package>.<rule>. Names that are no field of input
// are reported: what the engine never builds would silence the policy.
func findReads(c *ast.Compiler, rule ast.Ref, whole []string, report func(ast.Ref, string)) (reads, error) {
	r := reads{needs: map[string]bool{}}
	refs, err := dependencies.Base(c, rule)
	if err != nil {
		return r, err
	}
	for _, ref := range refs {
		if !ref[0].Equal(ast.InputRootDocument) {
			report(ref, "is neither input nor "+libraryPackage)
			continue
		}
		r.refs = append(r.refs, ref)
		r.addFacts(ref, report)
		r.addNeeds(ref, whole)
	}
	w := weakReads{compiler: c, seen: map[weakVisit]bool{}}
	w.ref(rule, false, false)
	r.weak = w.facts & r.facts
	return r, nil
}

func (r *reads) addFacts(ref ast.Ref, report func(ast.Ref, string)) {
	found, known := factsUnder(ref)
	if !known {
		report(ref, "is no field of input")
	}
	r.facts |= found
}

// addNeeds maps a ref to sections. A ref that stops at a whole object counts
// as everything below it.
func (r *reads) addNeeds(ref ast.Ref, whole []string) {
	switch root := word(ref, 1); root {
	case "token":
		r.needs[string(engine.SectionTokens)] = true
		if found, _ := factsUnder(ref); word(ref, 2) != "" && found&table().log != 0 {
			r.needs[string(engine.SectionAuditLog)] = true
		}
	case "secret":
		r.needs[string(engine.SectionSecrets)] = true
	case "owner", "creator":
		if name := word(ref, 2); name != "id" {
			r.needs[string(engine.SectionPrincipals)] = true
		}
	case "workspace":
		r.addWorkspaceNeeds(ref, whole)
	case "":
		r.needs[string(engine.SectionPrincipals)] = true
		r.addWorkspaceNeeds(ref, whole)
	}
}

func (r *reads) addWorkspaceNeeds(ref ast.Ref, whole []string) {
	switch name := word(ref, 2); name {
	case "id", "name", "host", "cloud", "labels", "coverage":
	case "settings":
		need := string(engine.SectionSettings)
		if key := word(ref, 3); key != "" {
			need = settingNeed(key)
		}
		r.needs[need] = true
	case "caller":
		r.needs[string(engine.SectionWorkspace)] = true
	case "pats_enabled":
		r.needs[settingNeed(keyTokensEnabled)] = true
	case "max_lifetime_days", "lifetime_limited":
		r.needs[settingNeed(keyMaxLifetime)] = true
	case "":
		for _, section := range whole {
			if !slices.Contains(notInWorkspace(), section) {
				r.needs[section] = true
			}
		}
	default: // grants, tokens and the sections of collectors to come
		r.needs[name] = true
	}
}

// notInWorkspace are sections that whoever reads all of input.workspace can do
// without: principals stand in owner and creator, what a log tells stands in the
// token, a report or an export that nobody gave is nowhere, and the snapshot before
// is no section of this one.
func notInWorkspace() []string {
	return []string{string(engine.SectionPrincipals), string(engine.SectionSecrets), string(engine.SectionFederation), string(engine.SectionOAuthApps), string(engine.SectionRecipients), string(engine.SectionAuditLog), string(engine.SectionAuditChanges),
		string(engine.SectionTokenReport), previousSection}
}

// touches reports whether a ref at, above or below path is read.
func (r reads) touches(path ...string) bool {
	return slices.ContainsFunc(r.refs, func(ref ast.Ref) bool {
		for i, name := range path {
			if at := word(ref, i+1); at != "" && at != name {
				return false
			}
		}
		return true
	})
}

func (r *reads) add(other reads) {
	r.refs = slices.CompactFunc(slices.SortedFunc(slices.Values(slices.Concat(r.refs, other.refs)), ast.RefCompare), ast.RefEqual)
	r.facts |= other.facts
	r.weak |= other.weak
	all := maps.Clone(other.needs)
	maps.Copy(all, r.needs)
	r.needs = all
}

// word is the i-th element of a ref when it is a string, else "".
func word(ref ast.Ref, i int) string {
	if i >= len(ref) {
		return ""
	}
	name, _ := ref[i].Value.(ast.String)
	return string(name)
}

// weakReads walks rules and collects the facts that are read where their
// absence can make something true. Everywhere else a missing field only makes
// fewer things true, so that a rule that fires without it would fire with it.
type weakReads struct {
	compiler *ast.Compiler
	seen     map[weakVisit]bool
	facts    facts
}

type weakVisit struct {
	rule *ast.Rule
	weak bool
}

// ref follows a reference; argument tells that a call receives it.
func (w *weakReads) ref(ref ast.Ref, weak, argument bool) {
	prefix := ref.ConstantPrefix()
	if prefix[0].Equal(ast.InputRootDocument) {
		if weak || len(ref) <= 2 { // whoever has the whole object may ask what it lacks
			found, _ := factsUnder(prefix)
			w.facts |= found
		}
		return
	}
	rules := w.compiler.GetRules(prefix)
	for _, rule := range rules {
		w.rule(rule, weak || complete(rule, ref, argument) || defaulted(rules))
	}
}

// complete: a set or object handed over whole can be counted or compared.
func complete(rule *ast.Rule, ref ast.Ref, argument bool) bool {
	whole := len(ref) < len(rule.Ref()) || (rule.Head.RuleKind() == ast.MultiValue && len(ref) == len(rule.Ref()))
	return argument && whole
}

func defaulted(rules []*ast.Rule) bool {
	return slices.ContainsFunc(rules, func(r *ast.Rule) bool { return r.Default || r.Else != nil })
}

func (w *weakReads) rule(rule *ast.Rule, weak bool) {
	visit := weakVisit{rule, weak}
	if w.seen[visit] {
		return
	}
	w.seen[visit] = true
	for r := rule; r != nil; r = r.Else {
		w.terms(r.Head, weak)
		w.body(r.Body, weak)
	}
}

func (w *weakReads) body(body ast.Body, weak bool) {
	for _, expr := range body {
		w.expr(expr, weak || expr.Negated)
	}
}

func (w *weakReads) expr(expr *ast.Expr, weak bool) {
	for _, with := range expr.With {
		w.terms(with, true)
	}
	if every, ok := expr.Terms.(*ast.Every); ok {
		w.terms(every.Domain, true)
		w.body(every.Body, true)
		return
	}
	if !expr.IsCall() {
		w.terms(expr.Terms, weak)
		return
	}
	w.ref(expr.Operator(), weak, false)
	for _, operand := range expr.Operands() {
		if ref, ok := operand.Value.(ast.Ref); ok {
			w.ref(ref, weak, true)
		}
		w.terms(operand, weak)
	}
}

// terms visits what is nested: references inside references, calls, and
// comprehensions, whose contents shrink when a field is missing.
func (w *weakReads) terms(node any, weak bool) {
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.ArrayComprehension:
			w.terms(x.Term, true)
			w.body(x.Body, true)
			return true
		case *ast.SetComprehension:
			w.terms(x.Term, true)
			w.body(x.Body, true)
			return true
		case *ast.ObjectComprehension:
			w.terms(x.Key, true)
			w.terms(x.Value, true)
			w.body(x.Body, true)
			return true
		case ast.Ref:
			w.ref(x, weak, false)
		}
		return false
	}).Walk(node)
}
