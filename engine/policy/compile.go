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
// policy has its own type of input.params.
func (s sources) compile(file *source, p engine.Policy, compiler *ast.Compiler, problems *Problems) *Compiled {
	known, ok := s.schemas[p.Resource]
	if !ok {
		problems.add(file.place(), file.line(), reasonSchema, "no pack holds schemas/%s.json, the schema of input", p.Resource)
		return nil
	}
	modules := s.withLibrary(file)
	p.Basis = s.basis(file, modules, p.Resource)
	if compiler == nil {
		var wrong Problems
		compiler, wrong = compiled(modules, known, p.Params, file.place())
		if *problems = append(*problems, wrong...); compiler.Failed() {
			return nil
		}
	}
	c := &Compiled{Policy: p, Trusted: file.trusted, Compiler: compiler}
	c.link(file, known, problems)
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

// basis is the digest of what decides about a policy besides its own text.
func (s sources) basis(file *source, modules map[string]*ast.Module, resource engine.Resource) string {
	var parts []string
	for _, library := range s.of(librarySource) {
		if library != file && modules[library.place()] != nil {
			parts = append(parts, library.path, library.text)
		}
	}
	return engine.TextDigest("[" + string(engine.CompactJSON(parts)) + "," + s.schemaTexts[resource] + "," + string(engine.CompactJSON(sandboxDigestInput())) + "]")
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

// link finds what the policy reads and prepares its query.
func (p *Compiled) link(file *source, known schema, problems *Problems) {
	root := file.module.Package.Path
	deny, applicable := root.Append(ast.StringTerm("deny")), root.Append(ast.StringTerm("applicable"))
	if len(p.Compiler.GetRulesExact(deny)) == 0 {
		problems.add(file.place(), file.line(), reasonDeny, "no rule named deny: the policy would never fire")
		return
	}
	bind := ast.Equality.Expr(ast.NewTerm(DenyVar), p.denyTerm(deny))
	p.Query = ast.NewBody(bind)
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
	p.Reads = p.analyse(deny, known, report)
	if len(p.Compiler.GetRulesExact(applicable)) > 0 {
		p.Applicable = p.analyse(applicable, known, report)
		p.Query = ast.NewBody(ast.Equality.Expr(ast.NewTerm(applicable), ast.InternedTerm(true)), bind)
		p.Reads.add(p.Applicable)
	}
	p.addNeeds(file, known, problems)
}

// denyTerm is deny itself when it is a set built of rules, which always has a
// value. Anything else may be undefined, and is wrapped in a list so that this
// is not taken for a policy that does not apply.
func (p *Compiled) denyTerm(deny ast.Ref) *ast.Term {
	for _, rule := range p.Compiler.GetRulesExact(deny) {
		if rule.Head.RuleKind() != ast.MultiValue {
			x := ast.VarTerm("x")
			return ast.ArrayComprehensionTerm(x, ast.NewBody(ast.Equality.Expr(x, ast.NewTerm(deny))))
		}
	}
	return ast.NewTerm(deny)
}

func (p *Compiled) analyse(rule ast.Ref, known schema, report func(ast.Ref, string)) Reads {
	found, err := findReads(p.Compiler, rule, p.Resource, sections(known), report)
	if err != nil {
		report(rule, err.Error())
	}
	return found
}

// addNeeds joins the needs declared and found, without those that the policy tolerates
// the lack of: it looks itself at what is missing.
func (p *Compiled) addNeeds(file *source, known schema, problems *Problems) {
	note := packageAnnotations(file.module)
	if note == nil {
		return // which is a problem already
	}
	isKnown := func(need string) bool {
		key, setting := strings.CutPrefix(need, settingNeed(""))
		return setting && key != "" || slices.Contains(sections(known), need)
	}
	r := metadataReader{file: file, from: note.Location.Row, problems: problems}
	tolerated := r.texts("tolerates", note.Custom["tolerates"])
	if len(tolerated) > 0 && p.Resource != engine.ResourceWorkspace {
		r.wrong("tolerates", "tolerates is for policies on workspaces: of a token, what is unknown stays unknown")
	}
	all := p.Reads.Needs
	switch p.Resource {
	case engine.ResourceToken:
		all[string(engine.SectionTokens)] = true
	case engine.ResourceSecret:
		all[string(engine.SectionSecrets)] = true
	}
	for _, section := range tolerated {
		if !isKnown(section) {
			r.wrong("tolerates", "tolerates: no section is called %s", section)
		}
		maps.DeleteFunc(all, func(need string, _ bool) bool { return need == section || strings.HasPrefix(need, section+".") })
	}
	for _, need := range p.Needs {
		switch {
		case p.Resource == engine.ResourceWaiver:
			r.wrong("needs", "needs: a policy over waivers reads no section")
			continue
		case !isKnown(need):
			r.wrong("needs", "needs: no section is called %s; known are %s and single settings such as %s", need,
				strings.Join(sections(known), ", "), settingNeed(SettingMaxLifetime))
		}
		all[need] = true
	}
	p.Needs = engine.SortedKeys(all)
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
