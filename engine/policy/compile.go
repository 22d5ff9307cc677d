package policy

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
	"patrol/engine/policy/prefilter"
)

// Compiled is a policy that can be run.
type Compiled struct {
	engine.Policy

	Trusted    bool // as its pack
	Compiler   *ast.Compiler
	Query      ast.Body // binds DenyVar; has no result when applicable is not true
	Reads      Reads    // of deny and applicable
	Applicable Reads    // Needs is nil where the policy has no such rule
}

// DenyVar is the variable of Query that holds what deny is.
const DenyVar = ast.Var("deny")

// newCompiler makes a compiler with the sandbox.
func newCompiler() *ast.Compiler {
	return ast.NewCompiler().WithCapabilities(capabilities()).WithStrict(true).SetErrorLimit(0)
}

// shareCompilers compiles the trusted policies of each resource together: reading
// the schema of the input is most of what loading costs. Their parameters stand in
// one type; a policy whose parameter has another type than one of that name
// elsewhere, or that does not compile, is left to be compiled alone.
func (s sources) shareCompilers(files []*source, read []engine.Policy) map[*source]*ast.Compiler {
	shared := map[*source]*ast.Compiler{}
	for resource, known := range s.schemas {
		var together []*source
		var params []engine.Param
		for i, file := range files {
			other := func(mine engine.Param) bool {
				return slices.ContainsFunc(params, func(p engine.Param) bool {
					return p.Name == mine.Name && !reflect.DeepEqual(schemaOf(p.Default), schemaOf(mine.Default))
				})
			}
			if !file.trusted || read[i].Resource != resource || slices.ContainsFunc(read[i].Params, other) {
				continue
			}
			together, params = append(together, file), append(params, read[i].Params...)
		}
		compiler, wrong := compiled(s.withLibrary(together...), known, params, "")
		for _, file := range together {
			if len(wrong) == 0 {
				shared[file] = compiler
			}
		}
	}
	return shared
}

// compile checks and prepares a policy together with the library it uses, by a
// compiler that others share or, where there is none, by one of its own: each
// policy has its own type of input.params. It finds what the policy reads, and what
// it needs; nil when it does not compile.
func (s sources) compile(file *source, p engine.Policy, compiler *ast.Compiler, problems *Problems) *Compiled {
	known, ok := s.schemas[p.Resource]
	if !ok {
		problems.add(file.place(), file.line(), reasonSchema, "no pack holds schemas/%s.json, the schema of input", p.Resource)
		return nil
	}
	modules := s.withLibrary(file)
	var parts []string // what decides about a policy besides its own text
	for _, library := range s.of(librarySource) {
		if library != file && modules[library.place()] != nil {
			parts = append(parts, library.path, library.text)
		}
	}
	p.Basis = engine.TextDigest("[" + string(engine.CompactJSON(parts)) + "," + s.schemaTexts[p.Resource] + "," + string(engine.CompactJSON(sandboxDigestInput())) + "]")
	if compiler == nil {
		var wrong Problems
		compiler, wrong = compiled(modules, known, p.Params, file.place())
		if *problems = append(*problems, wrong...); compiler.Failed() {
			return nil
		}
	}
	c := &Compiled{Policy: p, Trusted: file.trusted, Compiler: compiler}
	root := file.module.Package.Path
	deny, applicable := root.Append(ast.StringTerm("deny")), root.Append(ast.StringTerm("applicable"))
	rules := compiler.GetRulesExact(deny)
	if len(rules) == 0 {
		problems.add(file.place(), file.line(), reasonDeny, "no rule named deny: the policy would never fire")
		return c
	}
	// A set built of rules always has a value. Anything else may be undefined, and is
	// wrapped in a list so that this is not taken for a policy that does not apply.
	denied := ast.NewTerm(deny)
	if slices.ContainsFunc(rules, func(rule *ast.Rule) bool { return rule.Head.RuleKind() != ast.MultiValue }) {
		x := ast.VarTerm("x")
		denied = ast.ArrayComprehensionTerm(x, ast.NewBody(ast.Equality.Expr(x, denied)))
	}
	bind := ast.Equality.Expr(ast.NewTerm(DenyVar), denied)
	names := sections(known)
	reads := func(rule ast.Ref) Reads {
		report := func(ref ast.Ref, what string) {
			place, line, reason := file.place(), file.line(), reasonType
			if at := ref[0].Location; at != nil && at.File != "" {
				place, line = at.File, at.Row
			}
			if !ref[0].Equal(ast.InputRootDocument) {
				reason = reasonSandbox
			}
			problems.add(place, line, reason, "%s %s", ref, what)
		}
		found, err := findReads(compiler, rule, p.Resource, names, report)
		if err != nil {
			report(rule, err.Error())
		}
		return found
	}
	c.Query, c.Reads = ast.NewBody(bind), reads(deny)
	if len(compiler.GetRulesExact(applicable)) > 0 {
		c.Query = ast.NewBody(ast.Equality.Expr(ast.NewTerm(applicable), ast.InternedTerm(true)), bind)
		c.Applicable = reads(applicable)
		c.Reads.add(c.Applicable)
	}
	if file.metadata() == nil {
		return c // which is a problem already
	}

	// The needs declared and found, without those that the policy tolerates the lack of: it looks itself at what is missing.
	isKnown := func(need string) bool {
		key, setting := strings.CutPrefix(need, settingNeed(""))
		return setting && key != "" || slices.Contains(names, need)
	}
	needs := c.Reads.Needs
	switch p.Resource {
	case engine.ResourceToken:
		needs[string(engine.SectionTokens)] = true
	case engine.ResourceSecret:
		needs[string(engine.SectionSecrets)] = true
	}
	if len(file.tolerates) > 0 && p.Resource != engine.ResourceWorkspace {
		file.wrong(problems, "tolerates", "tolerates is for policies on workspaces: of a token, what is unknown stays unknown")
	}
	for _, section := range file.tolerates {
		if !isKnown(section) {
			file.wrong(problems, "tolerates", "tolerates: no section is called %s", section)
		}
		maps.DeleteFunc(needs, func(need string, _ bool) bool { return need == section || strings.HasPrefix(need, section+".") })
	}
	for _, need := range p.Needs {
		switch {
		case p.Resource == engine.ResourceWaiver:
			file.wrong(problems, "needs", "needs: a policy over waivers reads no section")
			continue
		case !isKnown(need):
			file.wrong(problems, "needs", "needs: no section is called %s; known are %s and single settings such as %s", need,
				strings.Join(names, ", "), settingNeed(SettingMaxLifetime))
		}
		needs[need] = true
	}
	c.Needs = engine.SortedKeys(needs)
	return c
}

// compiled compiles modules over an input with these parameters, and tells what is wrong
// with them, comparisons that can never hold included. place is where errors without one are.
func compiled(modules map[string]*ast.Module, known schema, params []engine.Param, place string) (*ast.Compiler, Problems) {
	var wrong Problems
	set := ast.NewSchemaSet()
	set.Put(ast.SchemaRootRef, map[string]any(known.withParams(params)))
	compiler := newCompiler().WithSchemas(set)
	if compiler.Compile(modules); compiler.Failed() {
		wrong.addOPA(place, compiler.Errors)
		return compiler, wrong
	}
	report := func(at *ast.Location, text string) { wrong.add(at.File, at.Row, reasonType, "%s", text) }
	prefilter.Comparisons(compiler, report)
	impossible(compiler, known, report)
	return compiler, wrong
}

// withLibrary are modules with those of the library that they use, directly or
// through others. The rest may be about another resource.
func (s sources) withLibrary(files ...*source) map[string]*ast.Module {
	modules := map[string]*ast.Module{}
	for i := 0; i < len(files); i++ { // it grows
		modules[files[i].place()] = files[i].module
		for _, library := range s.of(librarySource) {
			used := slices.ContainsFunc(files[i].uses, func(ref string) bool {
				return strings.HasPrefix(ref+".", library.pkg()+".") || strings.HasPrefix(library.pkg()+".", ref+".")
			})
			if used && modules[library.place()] == nil && !slices.Contains(files, library) {
				files = append(files, library)
			}
		}
	}
	return modules
}

// dataRefs lists the documents that a module imports or refers to in full.
func dataRefs(module *ast.Module) []string {
	refs := []string{strings.TrimPrefix(module.Package.Path.String(), "data.")}
	ast.WalkRefs(module, func(ref ast.Ref) bool {
		if ref[0].Equal(ast.DefaultRootDocument) {
			refs = append(refs, strings.TrimPrefix(ref.ConstantPrefix().String(), "data."))
		}
		return false
	})
	return refs
}

// sections lists the sections that a policy may need: those of the engine and
// those that the schema of input.workspace names.
func sections(s schema) []string {
	names := map[string]bool{"grants": true, "principals": true, "settings": true, "tokens": true, "workspace": true}
	for _, name := range notInWorkspace() {
		names[name] = true
	}
	for name := range s.fields("workspace") {
		if !Reserved(engine.SectionName(name)) {
			names[name] = true
		}
	}
	return engine.SortedKeys(names)
}
