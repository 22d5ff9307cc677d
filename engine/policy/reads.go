package policy

import (
	"maps"
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/dependencies"

	"patrol/engine"
)

// Reads is what a rule reads of its input, found in the compiled Rego, through
// the library.
type Reads struct {
	Refs   []ast.Ref       // constant prefixes of input.…, sorted
	Needs  map[string]bool // sections and settings.<key> that they rest on
	Fields engine.FieldSet // of token, owner and creator
	Weak   engine.FieldSet // those of Fields whose absence may make the rule fire: read under not, in a comprehension, with a default
}

// The settings that have a meaning of their own in input.workspace.
const (
	SettingTokensEnabled = "enableTokensConfig"
	SettingMaxLifetime   = "maxTokenLifetimeDays"
)

// Previous is the section that policies need of the snapshots before: settings and
// grants.
const Previous = "previous"

func settingNeed(key string) string { return string(engine.SectionSettings) + "." + key }

// Reserved reports whether a section's document does not stand in input.workspace under
// its name: the engine has words for it, or another field has the name.
func Reserved(section engine.SectionName) bool {
	switch section {
	case engine.SectionWorkspace, engine.SectionTokens, engine.SectionPrincipals, engine.SectionGroups, engine.SectionSettings, engine.SectionAccountPrincipals,
		engine.SectionAuditChanges, Previous, "caller", "id", "name", "host", "cloud", "labels", "coverage", "pats_enabled", "max_lifetime_days", "lifetime_limited":
		return true
	}
	return false
}

var logFields = sync.OnceValue(func() engine.FieldSet {
	return engine.FieldsWhere(func(f engine.Field) bool { return f.Log })
})

// fieldsUnder is the set of fields that a ref reads; known is false when it
// names a field that no input has.
func fieldsUnder(ref ast.Ref) (set engine.FieldSet, known bool) {
	object, name := Word(ref, 1), Word(ref, 2)
	set = engine.FieldsWhere(func(f engine.Field) bool {
		in, field := f.Place()
		return len(ref) == 1 || in == object && (name == "" || field == name)
	})
	return set, set != 0 || object != "token" && object != "owner" && object != "creator"
}

// findReads analyses data.<package>.<rule>. Names that are no field of input
// are reported: what the engine never builds would silence the policy.
func findReads(c *ast.Compiler, rule ast.Ref, resource engine.Resource, whole []string, report func(ast.Ref, string)) (Reads, error) {
	r := Reads{Needs: map[string]bool{}}
	refs, err := dependencies.Base(c, rule)
	if err != nil {
		return r, err
	}
	for _, ref := range refs {
		if !ref[0].Equal(ast.InputRootDocument) {
			report(ref, "is neither input nor "+libraryPackage)
			continue
		}
		r.Refs = append(r.Refs, ref)
		if resource == engine.ResourceWaiver { // its schema knows every field, and none rests on a section of a snapshot
			continue
		}
		found, known := fieldsUnder(ref)
		if !known {
			report(ref, "is no field of input")
		}
		r.Fields |= found
		r.addNeeds(ref, whole)
	}
	w := weakReads{compiler: c, seen: map[weakVisit]bool{}}
	w.ref(rule, false, false)
	r.Weak = w.fields & r.Fields
	return r, nil
}

// addNeeds maps a ref to sections. A ref that stops at a whole object counts
// as everything below it.
func (r *Reads) addNeeds(ref ast.Ref, whole []string) {
	switch root := Word(ref, 1); root {
	case "token":
		r.Needs[string(engine.SectionTokens)] = true
		if found, _ := fieldsUnder(ref); Word(ref, 2) != "" && found&logFields() != 0 {
			r.Needs[string(engine.SectionAuditLog)] = true
		}
	case "secret":
		r.Needs[string(engine.SectionSecrets)] = true
	case "owner", "creator":
		if name := Word(ref, 2); name != "id" {
			r.Needs[string(engine.SectionPrincipals)] = true
		}
	case "workspace":
		r.addWorkspaceNeeds(ref, whole)
	case "":
		r.Needs[string(engine.SectionPrincipals)] = true
		r.addWorkspaceNeeds(ref, whole)
	}
}

func (r *Reads) addWorkspaceNeeds(ref ast.Ref, whole []string) {
	switch name := Word(ref, 2); name {
	case "id", "name", "host", "cloud", "labels", "coverage":
	case "settings":
		need := string(engine.SectionSettings)
		if key := Word(ref, 3); key != "" {
			need = settingNeed(key)
		}
		r.Needs[need] = true
	case "caller":
		r.Needs[string(engine.SectionWorkspace)] = true
	case "pats_enabled":
		r.Needs[settingNeed(SettingTokensEnabled)] = true
	case "max_lifetime_days", "lifetime_limited":
		r.Needs[settingNeed(SettingMaxLifetime)] = true
	case "":
		for _, section := range whole {
			if !slices.Contains(notInWorkspace(), section) {
				r.Needs[section] = true
			}
		}
	default: // grants, tokens and the sections of collectors to come
		r.Needs[name] = true
	}
}

// notInWorkspace are sections that whoever reads all of input.workspace can do
// without: principals stand in owner and creator, what a log tells stands in the
// token, a report or an export that nobody gave is nowhere, and the snapshot before
// is no section of this one.
func notInWorkspace() []string {
	return []string{
		string(engine.SectionPrincipals), string(engine.SectionSecrets), string(engine.SectionFederation), string(engine.SectionOAuthApps), string(engine.SectionRecipients),
		string(engine.SectionAuditLog), string(engine.SectionAuditChanges), string(engine.SectionTokenReport), Previous,
	}
}

// Touches reports whether a ref at, above or below path is read.
func (r Reads) Touches(path ...string) bool {
	return slices.ContainsFunc(r.Refs, func(ref ast.Ref) bool {
		for i, name := range path {
			if at := Word(ref, i+1); at != "" && at != name {
				return false
			}
		}
		return true
	})
}

func (r *Reads) add(other Reads) {
	r.Refs = slices.CompactFunc(slices.SortedFunc(slices.Values(slices.Concat(r.Refs, other.Refs)), ast.RefCompare), ast.RefEqual)
	r.Fields |= other.Fields
	r.Weak |= other.Weak
	all := maps.Clone(other.Needs)
	maps.Copy(all, r.Needs)
	r.Needs = all
}

// Word is the i-th element of a ref when it is a string, else "".
func Word(ref ast.Ref, i int) string {
	if i >= len(ref) {
		return ""
	}
	name, _ := ref[i].Value.(ast.String)
	return string(name)
}

// weakReads walks rules and collects the fields that are read where their
// absence can make something true. Everywhere else a missing field only makes
// fewer things true, so that a rule that fires without it would fire with it.
type weakReads struct {
	compiler *ast.Compiler
	seen     map[weakVisit]bool
	fields   engine.FieldSet
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
			found, _ := fieldsUnder(prefix)
			w.fields |= found
		}
		return
	}
	rules := w.compiler.GetRules(prefix)
	weak = weak || slices.ContainsFunc(rules, func(r *ast.Rule) bool { return r.Default || r.Else != nil })
	for _, rule := range rules {
		whole := len(ref) < len(rule.Ref()) || rule.Head.RuleKind() == ast.MultiValue && len(ref) == len(rule.Ref())
		w.rule(rule, weak || argument && whole) // a set or object handed over whole can be counted or compared
	}
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
