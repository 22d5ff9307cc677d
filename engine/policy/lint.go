package policy

import (
	"context"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/topdown"

	"patrol/engine"
)

// The reasons of what Lint finds, beyond those of Load.
const (
	reasonFormat  = "policy_format"  // not as `opa fmt` writes it
	reasonTests   = "policy_tests"   // no test that fires, or none that stays silent
	reasonComment = "policy_comment" // a comment can exempt from the policy
	reasonWords   = "policy_words"   // metadata that auditors and admins need is empty
)

// Lint holds the policies of a pack to what a reader expects of them, beyond
// what Load insists on: the format of `opa fmt`, remediation and controls, a
// test that fires and one that stays silent, and no exemption that reads a
// comment, which is anybody's to write.
func (s *Set) Lint(ctx context.Context, pack string, run TestRun) (Problems, error) {
	run.Parallel = 1
	var problems Problems
	accepted := map[string]map[string]any{} // by file: the reasons that its author answered
	for _, file := range s.sources.files {
		if file.pack == pack {
			lintFormat(file, &problems)
			if file.module != nil { // tests are not parsed yet
				if note := packageAnnotations(file.module); note != nil {
					accepted[file.place()], _ = note.Custom["accepts"].(map[string]any)
				}
			}
		}
	}
	fired, err := s.observeTests(ctx, run)
	if err != nil {
		return nil, err
	}
	for _, p := range slices.Concat(s.Resources, s.Waivers) {
		if p.Pack == pack {
			p.lint(fired, &problems)
		}
	}
	problems = slices.DeleteFunc(problems, func(p Problem) bool {
		why, _ := accepted[p.File][p.Reason].(string)
		return strings.TrimSpace(why) != ""
	})
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.String(), b.String()) })
	return problems, nil
}

func lintFormat(file *source, problems *Problems) {
	formatted, err := format.SourceWithOpts(file.place(), []byte(file.text), format.Opts{RegoVersion: ast.RegoV1})
	switch {
	case err != nil:
		problems.add(file.place(), 0, reasonParse, "%v", err)
	case string(formatted) != file.text:
		problems.add(file.place(), firstDifference(file.text, string(formatted)), reasonFormat, "differs from what `opa fmt` writes")
	}
}

// firstDifference is the first line (from 1) in which two texts differ.
func firstDifference(a, b string) int {
	left, right := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range left {
		if i >= len(right) || left[i] != right[i] {
			return i + 1
		}
	}
	return len(left)
}

func (p *Compiled) lint(fired observations, problems *Problems) {
	place := (&source{pack: p.Pack, path: p.File}).place()
	if p.Remediation == "" {
		problems.add(place, 0, reasonWords, "custom.remediation is missing: say what an admin should do")
	}
	if len(p.Controls) == 0 {
		problems.add(place, 0, reasonWords, "custom.controls is missing: say which controls it serves")
	}
	for _, text := range append([]string{p.Title, p.Description, p.Remediation}, paramTexts(p.Params)...) {
		if strings.HasPrefix(text, "TODO") {
			problems.add(place, 0, reasonWords, "still says %q", text)
		}
	}
	seen := fired[p.Package]
	if !seen.fires {
		problems.add(place, 0, reasonTests, "no test in which it fires: an undefined field would silence it unseen")
	}
	if !seen.silent {
		problems.add(place, 0, reasonTests, "no test in which it stays silent")
	}
	if p.exemptsByComment() {
		problems.add(place, 0, reasonComment, "a token's comment, which is anybody's to write, can keep it from firing: except by ids, with a waiver; or, where the policy demands something of the comment, say so")
	}
}

func paramTexts(params []engine.Param) (texts []string) {
	for _, p := range params {
		texts = append(texts, p.Description)
	}
	return texts
}

// Format is a file of Rego as `opa fmt` writes it.
func Format(path string, text []byte) ([]byte, error) {
	formatted, err := format.SourceWithOpts(path, text, format.Opts{RegoVersion: ast.RegoV1})
	if err != nil {
		return nil, engine.UsageError("format", path, "Correct the Rego first.", err)
	}
	return formatted, nil
}

// exemptsByComment: whether a policy applies must not depend on a comment, and
// a policy that weighs a comment against other facts lets its writer tip the
// scales. One that is about the comment alone may read it.
func (p *Compiled) exemptsByComment() bool {
	comment := engine.FieldsWhere(func(f engine.Field) bool { return f.Name == "comment" || f.Name == "comment_secrets" })
	if p.Reads.Fields&comment == 0 {
		return false
	}
	return p.Applicable.Fields&comment != 0 || p.Reads.Fields&^comment != 0
}

// observation is what the tests of one policy were seen to do.
type observation struct{ fires, silent bool }

// observations are by package of the policy.
type observations map[string]observation

// observeTests runs all tests one after the other and watches deny.
func (s *Set) observeTests(ctx context.Context, run TestRun) (observations, error) {
	modules, err := s.testModules(run)
	if err != nil {
		return nil, err
	}
	watch := &denyWatch{seen: observations{}}
	_, err = s.runModules(ctx, modules, run, watch)
	watch.end()
	return watch.seen, err
}

// denyWatch is a tracer that notes for each test whether the policy that it is
// about denied anything.
type denyWatch struct {
	seen  observations
	test  *ast.Rule
	fired bool
}

func (*denyWatch) Enabled() bool               { return true }
func (*denyWatch) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

func (w *denyWatch) TraceEvent(event topdown.Event) {
	rule, ok := event.Node.(*ast.Rule)
	if !ok || rule.Module == nil {
		return
	}
	name := rule.Head.Name.String()
	switch {
	case event.Op == topdown.EnterOp && strings.HasPrefix(name, "test_"):
		w.end()
		w.test, w.fired = rule, false
	case event.Op == topdown.ExitOp && w.test != nil && name == "deny" && w.subject() == packageOf(rule):
		w.fired = true
	}
}

// end books what the test just run has shown.
func (w *denyWatch) end() {
	if w.test == nil {
		return
	}
	seen := w.seen[w.subject()]
	seen.fires, seen.silent = seen.fires || w.fired, seen.silent || !w.fired
	w.seen[w.subject()] = seen
	w.test = nil
}

// subject is the package that the test is about: a test package is named after it.
func (w *denyWatch) subject() string { return strings.TrimSuffix(packageOf(w.test), "_test") }

func packageOf(rule *ast.Rule) string {
	return strings.TrimPrefix(rule.Module.Package.Path.String(), "data.")
}
