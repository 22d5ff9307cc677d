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
		modules := map[string]*ast.Module{}
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
			s.addWithLibrary(file, modules)
		}
		compiler := newCompiler().WithSchemas(schemaSet(known.withParams(params)))
		compiler.Compile(modules)
		sound := !compiler.Failed()
		if sound {
			prefilter.Comparisons(compiler, func(*ast.Location, string) { sound = false })
			impossible(compiler, known, func(*ast.Location, string) { sound = false })
		}
		if !sound {
			continue
		}
		for _, file := range together {
			shared[file] = compiler
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
		compiler = newCompiler().WithSchemas(schemaSet(known.withParams(p.Params)))
		if compiler.Compile(modules); compiler.Failed() {
			problems.addOPA(file.place(), compiler.Errors)
			return nil
		}
		prefilter.Comparisons(compiler, func(at *ast.Location, text string) { problems.add(at.File, at.Row, reasonType, "%s", text) })
		impossible(compiler, known, func(at *ast.Location, text string) { problems.add(at.File, at.Row, reasonType, "%s", text) })
	}
	compiled := &Compiled{Policy: p, Trusted: file.trusted, Compiler: compiler}
	compiled.link(file, known, problems)
	return compiled
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

func schemaSet(s schema) *ast.SchemaSet {
	set := ast.NewSchemaSet()
	set.Put(ast.SchemaRootRef, map[string]any(s))
	return set
}

// withLibrary is the module with those of the library that it uses, directly
// or through others. The rest may be about another resource.
func (s sources) withLibrary(file *source) map[string]*ast.Module {
	modules := map[string]*ast.Module{}
	s.addWithLibrary(file, modules)
	return modules
}

func (s sources) addWithLibrary(file *source, modules map[string]*ast.Module) {
	if modules[file.place()] != nil {
		return
	}
	modules[file.place()] = file.module
	for _, library := range s.of(librarySource) {
		for _, ref := range file.uses {
			if strings.HasPrefix(ref+".", library.pkg()+".") || strings.HasPrefix(library.pkg()+".", ref+".") {
				s.addWithLibrary(library, modules)
				break
			}
		}
	}
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
	report := func(ref ast.Ref, what string) { p.wrongRef(file, ref, what, problems) }
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
	found, err := p.findReads(rule, known, report)
	if err != nil {
		report(rule, err.Error())
	}
	return found
}

func (p *Compiled) findReads(rule ast.Ref, known schema, report func(ast.Ref, string)) (Reads, error) {
	if p.Resource == engine.ResourceWaiver {
		return findWaiverReads(p.Compiler, rule, report)
	}
	return findReads(p.Compiler, rule, sections(known), report)
}

func (p *Compiled) wrongRef(file *source, ref ast.Ref, what string, problems *Problems) {
	place, line := file.place(), file.line()
	if at := ref[0].Location; at != nil && at.File != "" {
		place, line = at.File, at.Row
	}
	reason := reasonType
	if !ref[0].Equal(ast.InputRootDocument) {
		reason = reasonSandbox
	}
	problems.add(place, line, reason, "%s %s", ref, what)
}

// addNeeds joins the needs declared and found.
func (p *Compiled) addNeeds(file *source, known schema, problems *Problems) {
	all := p.Reads.Needs
	if p.Resource == engine.ResourceToken {
		all[string(engine.SectionTokens)] = true
	}
	if p.Resource == engine.ResourceSecret {
		all[string(engine.SectionSecrets)] = true
	}
	p.tolerate(file, known, problems)
	for _, need := range p.Needs {
		if p.Resource == engine.ResourceWaiver {
			r := metadataReader{file: file, from: packageAnnotations(file.module).Location.Row, problems: problems}
			r.wrong("needs", "needs: a policy over waivers reads no section")
			continue
		}
		if !knownNeed(need, known) {
			r := metadataReader{file: file, from: packageAnnotations(file.module).Location.Row, problems: problems}
			r.wrong("needs", "needs: no section is called %s; known are %s and single settings such as %s", need,
				strings.Join(sections(known), ", "), settingNeed(SettingMaxLifetime))
		}
		all[need] = true
	}
	p.Needs = engine.SortedKeys(all)
}

// tolerate takes away the needs that the policy does without by itself: it
// looks at what is missing.
func (p *Compiled) tolerate(file *source, known schema, problems *Problems) {
	note := packageAnnotations(file.module)
	if note == nil {
		return
	}
	r := metadataReader{file: file, from: note.Location.Row, problems: problems}
	tolerated := r.texts("tolerates", note.Custom["tolerates"])
	if len(tolerated) > 0 && p.Resource != engine.ResourceWorkspace {
		r.wrong("tolerates", "tolerates is for policies on workspaces: of a token, what is unknown stays unknown")
	}
	for _, section := range tolerated {
		if !knownNeed(section, known) {
			r.wrong("tolerates", "tolerates: no section is called %s", section)
		}
		maps.DeleteFunc(p.Reads.Needs, func(need string, _ bool) bool {
			return need == section || strings.HasPrefix(need, section+".")
		})
	}
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

func knownNeed(need string, s schema) bool {
	if key, ok := strings.CutPrefix(need, "settings."); ok {
		return key != ""
	}
	for _, name := range sections(s) {
		if name == need {
			return true
		}
	}
	return false
}
