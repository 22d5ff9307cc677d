package policy

import (
	"context"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

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
	trace := &testTrace{begin: run.Begin, seen: map[string]observation{}}
	if _, _, err := s.runTests(ctx, run, trace); err != nil {
		return nil, err
	}
	var problems Problems
	accepted := map[string]map[string]any{} // by file: the reasons that its author answered
	for _, file := range s.sources.files {
		if file.pack != pack {
			continue
		}
		formatted, err := format.SourceWithOpts(file.place(), []byte(file.text), format.Opts{RegoVersion: ast.RegoV1})
		switch {
		case err != nil:
			problems.add(file.place(), 0, reasonParse, "%v", err)
		case string(formatted) != file.text:
			old, fresh, line := strings.Split(file.text, "\n"), strings.Split(string(formatted), "\n"), 1
			for line < min(len(old), len(fresh)) && old[line-1] == fresh[line-1] {
				line++
			}
			problems.add(file.place(), line, reasonFormat, "differs from what `opa fmt` writes")
		}
		if file.module != nil && file.metadata() != nil { // tests are not parsed yet
			accepted[file.place()], _ = file.metadata().Custom["accepts"].(map[string]any)
		}
	}
	for _, p := range slices.Concat(s.Resources, s.Waivers) {
		if p.Pack != pack {
			continue
		}
		place := (&source{pack: p.Pack, path: p.File}).place()
		add := func(reason, format string, args ...any) { problems.add(place, 0, reason, format, args...) }
		if p.Remediation == "" {
			add(reasonWords, "custom.remediation is missing: say what an admin should do")
		}
		if len(p.Controls) == 0 {
			add(reasonWords, "custom.controls is missing: say which controls it serves")
		}
		said := []string{p.Title, p.Description, p.Remediation}
		for _, param := range p.Params {
			said = append(said, param.Description)
		}
		for _, text := range said {
			if strings.HasPrefix(text, "TODO") {
				add(reasonWords, "still says %q", text)
			}
		}
		if !trace.seen[p.Package].fires {
			add(reasonTests, "no test in which it fires: an undefined field would silence it unseen")
		}
		if !trace.seen[p.Package].silent {
			add(reasonTests, "no test in which it stays silent")
		}
		// Whether a policy applies must not depend on a comment, and a policy that weighs a comment against
		// other facts lets its writer tip the scales. One that is about the comment alone may read it.
		comment := engine.FieldsWhere(func(f engine.Field) bool { return f.Name == "comment" || f.Name == "comment_secrets" })
		if p.Applicable.Fields&comment != 0 || p.Reads.Fields&comment != 0 && p.Reads.Fields&^comment != 0 {
			add(reasonComment, "a token's comment, which is anybody's to write, can keep it from firing: except by ids, with a waiver; or, where the policy demands something of the comment, say so")
		}
	}
	problems = slices.DeleteFunc(problems, func(p Problem) bool {
		why, _ := accepted[p.File][p.Reason].(string)
		return strings.TrimSpace(why) != ""
	})
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.String(), b.String()) })
	return problems, nil
}

// Format is a file of Rego as `opa fmt` writes it.
func Format(path string, text []byte) ([]byte, error) {
	formatted, err := format.SourceWithOpts(path, text, format.Opts{RegoVersion: ast.RegoV1})
	if err != nil {
		return nil, engine.UsageError("format", path, "Correct the Rego first.", err)
	}
	return formatted, nil
}
