package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"patrol/cmd/internal/config"
	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/policy"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"
)

// policiesTest runs Rego tests.
func (a *app) policiesTest() *cobra.Command {
	var o pipeline.Judging
	var filter string
	var coverage, watch bool
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Run the Rego tests of policies, in the sandbox that policies run in",
		Long: "Runs the tests of the packs given by --policy, or without any those of the built-in policies. The same files pass the\n" +
			"stock `opa test`. Ends with exit code 3 when a test does not pass.",
		Example: "  patrol policies test --policy my-policies --coverage\n  patrol policies test --policy my-policies --watch",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			run := func() error { return a.runPolicyTests(cmd.Context(), &o, filter, coverage) }
			if watch {
				return a.watchPacks(cmd.Context(), o.Packs, run)
			}
			return run()
		},
	}
	addPackFlags(cmd.Flags(), &o)
	cmd.Flags().StringVar(&filter, "run", "", "only tests whose full name matches this `regexp`")
	cmd.Flags().BoolVar(&coverage, "coverage", false, "list the lines that no test runs")
	cmd.Flags().BoolVar(&watch, "watch", false, "run again whenever a file of the packs changes")
	return cmd
}

func (a *app) runPolicyTests(ctx context.Context, o *pipeline.Judging, filter string, coverage bool) error {
	set, err := a.loadPolicies(ctx, o)
	if err != nil {
		return err
	}
	results, covered, err := set.All.RunTests(ctx, filter)
	if err != nil {
		return err
	}
	wanted := packNames(o)
	passed, failed := 0, 0
	for _, r := range results {
		if !inPacks(r.File, wanted) {
			continue
		}
		if r.Outcome == policy.TestPassed {
			passed++
			a.detail("pass  %s", engine.SafeText(r.Name))
			continue
		}
		failed++
		fmt.Fprintf(a.env.stdout, "%s  %s:%d  %s\n      %s\n", r.Outcome, engine.SafeText(r.File), r.Line, engine.SafeText(r.Name), engine.SafeLines(r.Message+r.Output))
	}
	fmt.Fprintf(a.env.stdout, "%d passed, %d failed\n", passed, failed)
	for _, c := range covered {
		if !coverage || !inPacks(c.File, wanted) {
			continue
		}
		missed := ""
		if len(c.Missed) > 0 {
			missed = fmt.Sprintf("  not run: lines %s", strings.Trim(fmt.Sprint(c.Missed), "[]"))
		}
		fmt.Fprintf(a.env.stdout, "%5.1f %%  %s%s\n", c.Percent, c.File, missed)
	}
	switch {
	case failed > 0:
		return engine.UsageError("test policies", "", "Correct the policy or the test.", fmt.Errorf("%s failed", plural(failed, "test")))
	case passed == 0:
		return engine.UsageError("test policies", "", "Tests are rules named test_… in files named *_test.rego.", errors.New("no test ran"))
	}
	return nil
}

// packNames are the packs that a command is about: those given, else the built-in one.
func packNames(o *pipeline.Judging) []string {
	if len(o.Packs) == 0 {
		return []string{policy.BuiltIn}
	}
	return o.Packs
}

func inPacks(file string, packs []string) bool {
	return slices.ContainsFunc(packs, func(pack string) bool { return strings.HasPrefix(file, filepath.ToSlash(filepath.Clean(pack))+"/") })
}

// settle is how long files must be quiet before tests run again: editors write
// a file in several steps.
const settle = 200 * time.Millisecond

// watchPacks runs at once and whenever a file below the packs changes, until interrupted.
func (a *app) watchPacks(ctx context.Context, packs []string, run func() error) error {
	if len(packs) == 0 {
		return engine.UsageError("read flag", "--watch", "Give the directory to watch with --policy.", errors.New("needs --policy"))
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return engine.UsageError("watch", strings.Join(packs, ", "), "Run without --watch.", err)
	}
	defer watcher.Close()
	for {
		for _, pack := range packs {
			err := filepath.WalkDir(pack, func(path string, entry os.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					return watcher.Add(path)
				}
				return err
			})
			if err != nil {
				return engine.UsageError("watch", pack, "Name a directory of .rego files with --policy.", err)
			}
		}
		if err := run(); err != nil {
			printError(a.env.stderr, err, a.logFormat == jsonFormat)
		}
		for quiet := (<-chan time.Time)(nil); ; { // until something changed, and then nothing did for a while
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-watcher.Events:
				quiet = time.After(settle)
				continue
			case err := <-watcher.Errors:
				return engine.UsageError("watch", "", "Run without --watch.", err)
			case <-quiet:
			}
			break
		}
	}
}

// policiesLint holds policies to more than loading insists on.
func (a *app) policiesLint() *cobra.Command {
	var o pipeline.Judging
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Check that policies are complete: metadata, format, tests, no exemption by comment",
		Long: "Holds the policies of the packs given by --policy, or without any the built-in ones, to what their readers expect: loading\n" +
			"without error (types, sandbox, metadata, unique ids, package and path), the format of `opa fmt`, remediation and\n" +
			"controls, a test that fires and one that stays silent, and no exemption that reads a token's comment.",
		Example: "  patrol policies lint --policy my-policies",
		Args:    cobra.NoArgs,
		RunE: a.withPolicies(&o, func(ctx context.Context, set *pipeline.Policies, _ []string) error {
			found := 0
			for _, pack := range packNames(&o) {
				problems, err := set.All.Lint(ctx, pack)
				if err != nil {
					return err
				}
				for _, p := range problems {
					fmt.Fprintln(a.env.stdout, engine.SafeText(p.String()))
				}
				found += len(problems)
			}
			if found > 0 {
				return engine.UsageError("lint policies", "", "Correct the places named; or, where one is right as it is, say why in its METADATA: custom.accepts: {policy_comment: \"demands a ticket, exempts nobody\"}.", errors.New(plural(found, "problem")))
			}
			fmt.Fprintln(a.env.stdout, "no problems")
			return nil
		}),
	}
	addPackFlags(cmd.Flags(), &o)
	return cmd
}

// policiesFmt formats files as `opa fmt` does.
func (a *app) policiesFmt() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:     "fmt PATH…",
		Short:   "Format policies as opa fmt does",
		Example: "  patrol policies fmt my-policies\n  patrol policies fmt --check my-policies",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			changed := 0
			for _, root := range args {
				err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
					if err != nil || entry.IsDir() || filepath.Ext(path) != ".rego" {
						return err
					}
					text, err := os.ReadFile(path)
					if err != nil {
						return err
					}
					formatted, err := policy.Format(path, text)
					if err != nil || bytes.Equal(formatted, text) {
						return err
					}
					changed++
					fmt.Fprintln(a.env.stdout, engine.SafeText(path))
					if check {
						return nil
					}
					return writeText(path, string(formatted))
				})
				if _, known := engine.AsError(err); err != nil && !known {
					err = engine.UsageError("format", root, "Name a directory or a file of Rego.", err)
				}
				if err != nil {
					return err
				}
			}
			if check && changed > 0 {
				return engine.UsageError("check format of policies", "", "Run `patrol policies fmt` without --check.", errors.New(plural(changed, "file")+" differ"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "change nothing; end with exit code 3 when a file would change")
	return cmd
}

// policiesNew scaffolds a policy and its tests.
func (a *app) policiesNew() *cobra.Command {
	var id, dir string
	severity := engine.Medium
	cmd := &cobra.Command{
		Use:   "new RESOURCE/NAME",
		Short: "Scaffold a policy with its two tests",
		Long: "Writes a policy that loads, passes its tests and says where to go on from there. RESOURCE is token, workspace or secret. Files\n" +
			"that exist are never overwritten.",
		Example: "  patrol policies new token/too_old --id ACME-001 --policy my-policies",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.newPolicy(args[0], id, severity, dir) },
	}
	cmd.Flags().StringVar(&id, "id", "", "stable `id` of the policy (required)")
	cmd.Flags().Var(severityFlag(&severity), "severity", "how bad a violation is")
	cmd.Flags().StringVarP(&dir, "policy", "p", "policies", "`directory` of the pack")
	config.OwnPlace(cmd.Flags(), "policy") // the configuration lists the packs to judge by, and the severity to select
	config.OwnPlace(cmd.Flags(), "severity")
	return cmd
}

var (
	policyPath = regexp.MustCompile(`^(token|workspace|secret)/([a-z][a-z0-9_]*)$`)
	policyID   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)+$`)
)

// exampleFields are numbers of each resource that a scaffold compares with a limit.
var exampleFields = map[string]string{"token": "age_days", "workspace": "max_lifetime_days", "secret": "age_days"}

func (a *app) newPolicy(name, id string, severity engine.Severity, dir string) error {
	parts := policyPath.FindStringSubmatch(name)
	if parts == nil {
		return engine.UsageError("read argument", name, "Use token/NAME, workspace/NAME or secret/NAME in lower case, such as token/too_old.", errors.New("not the path of a policy"))
	}
	if !policyID.MatchString(id) {
		return engine.UsageError("read flag", "--id", "Use a prefix and a number, such as ACME-001.", fmt.Errorf("%q is no id", id))
	}
	resource, base := parts[1], filepath.Join(dir, parts[1], parts[2])
	fill := strings.NewReplacer("RESOURCE", resource, "NAME", parts[2], "ID", id, "SEVERITY", string(severity), "KEY", exampleFields[resource])
	files := [][2]string{{base + ".rego", fill.Replace(scaffoldPolicy)}, {base + "_test.rego", fill.Replace(scaffoldTest)}}
	for _, file := range files {
		if _, err := os.Lstat(file[0]); err == nil {
			return engine.UsageError("scaffold policy", file[0], "Choose another name, or remove the file.", errors.New("exists already"))
		}
	}
	if err := makeFolder(filepath.Dir(base)); err != nil {
		return err
	}
	for _, file := range files {
		if err := writeText(file[0], file[1]); err != nil {
			return err
		}
		fmt.Fprintln(a.env.stdout, file[0])
	}
	a.say("Next: edit the policy, then `patrol policies test --policy %s` and `patrol policies lint --policy %s`.", dir, dir)
	return nil
}

const scaffoldPolicy = `# METADATA
# title: "TODO: say in a few words what it finds"
# description: "TODO: say why it matters, in one or two sentences that an auditor can read."
# schemas:
#   - input: schema.RESOURCE
# custom:
#   id: ID
#   severity: SEVERITY
#   remedy: notify
#   remediation: "TODO: say what an admin should do"
#   controls:
#     soc2: ["CC6.1"]
#   params:
#     limit:
#       default: 90
#       description: "TODO: say what the number limits, and in which unit"
package patrol.RESOURCE.NAME

deny contains message if {
	input.RESOURCE.KEY > input.params.limit
	message := sprintf("is %v, limit %v", [input.RESOURCE.KEY, input.params.limit])
}
`

const scaffoldTest = `package patrol.RESOURCE.NAME_test

import data.patrol.RESOURCE.NAME

given(value) := {"RESOURCE": {"KEY": value}, "params": {"limit": 90}}

test_fires_above_the_limit if NAME.deny == {"is 91, limit 90"} with input as given(91)

test_silent_at_the_limit if count(NAME.deny) == 0 with input as given(90)
`

// policiesDocs writes a page for each policy.
func (a *app) policiesDocs() *cobra.Command {
	var o pipeline.Judging
	cmd := &cobra.Command{
		Use:     "docs DIR",
		Short:   "Write a page for each policy, and an index, as Markdown",
		Long:    "Writes what each policy finds, why it matters, what to do, its parameters and controls, and its Rego: a page per policy and\nan index, README.md.",
		Example: "  patrol policies docs docs/policies\n  patrol policies docs site/policies --policy my-policies",
		Args:    cobra.ExactArgs(1),
		RunE: a.withPolicies(&o, func(_ context.Context, set *pipeline.Policies, args []string) error {
			return writePages(args[0], policyPages(set.Every()))
		}),
	}
	addPackFlags(cmd.Flags(), &o)
	return cmd
}

// policyPages are the pages by file name.
func policyPages(policies []engine.Policy) map[string]string {
	pages := map[string]string{}
	var index strings.Builder
	index.WriteString(generatedNotice + "# Policies\n\nWorst first. [The policy contract](../policy-contract.md) tells how to write your own.\n\n| id | severity | judges | finds | remedy |\n|---|---|---|---|---|\n")
	for _, p := range policies {
		fmt.Fprintf(&index, "| [%s](%s.md) | %s | %s | %s | %s |\n", p.ID, p.ID, p.Severity, judges(p), inMarkdown(p.Title), p.Remedy)
		pages[p.ID+".md"] = policyPage(p)
	}
	pages["README.md"] = index.String()
	return pages
}

func policyPage(p engine.Policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s# %s: %s\n\n%s\n", generatedNotice, p.ID, inMarkdown(p.Title), inMarkdown(p.Description))
	if p.Remediation != "" {
		fmt.Fprintf(&b, "\n**What to do.** %s\n", inMarkdown(p.Remediation))
	}
	b.WriteString("\n| | |\n|---|---|\n")
	for _, row := range [][2]string{
		{"severity", string(p.Severity)}, {"judges", judges(p)}, {"remedy", p.Remedy},
		{"needs", code(p.Needs)}, {"also known as", code(p.Aliases)},
	} {
		if row[1] != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", row[0], row[1])
		}
	}
	if len(p.Params) > 0 {
		b.WriteString("\n## Parameters\n\n| name | default | meaning |\n|---|---|---|\n")
		for _, param := range p.Params {
			fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", param.Name, strings.ReplaceAll(jsonText(param.Default), "|", `\|`), inMarkdown(param.Description))
		}
		fmt.Fprintf(&b, "\nChange one in `patrol.yaml`:\n\n```yaml\npolicies:\n  %s:\n    params: {%s: %s}\n```\n", p.ID, p.Params[0].Name, jsonText(p.Params[0].Default))
	}
	if len(p.Controls) > 0 {
		b.WriteString("\n## Controls\n\n")
	}
	for _, framework := range engine.SortedKeys(p.Controls) {
		fmt.Fprintf(&b, "- %s: %s\n", inMarkdown(framework), inMarkdown(strings.Join(p.Controls[framework], ", ")))
	}
	fence := "```"
	for strings.Contains(p.Source, fence) {
		fence += "`"
	}
	fmt.Fprintf(&b, "\n## Rule\n\n%srego\n%s\n%s\n", fence, safeSource(rule(p.Source)), fence)
	return b.String()
}

// rule is the Rego without its metadata, which the page already shows.
func rule(source string) string {
	lines := strings.Split(source, "\n")
	start := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "package ") })
	return strings.TrimSpace(strings.Join(lines[max(start, 0):], "\n"))
}

// inMarkdown is a text of a pack in a page: no HTML, link, image or cell of its own.
func inMarkdown(text string) string {
	return strings.NewReplacer("<", "&lt;", "|", `\|`, "[", `\[`).Replace(strings.Join(strings.Fields(text), " "))
}

func code(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = "`" + word + "`"
	}
	return strings.Join(quoted, ", ")
}
