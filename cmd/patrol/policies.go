package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/policy"
	"patrol/reports/table"

	"github.com/spf13/cobra"
)

// Policies shows the policies and what is in force.
func (c commands) Policies() *cobra.Command {
	return commandGroup("policies", "Show the policies", c.app.policiesList(), c.app.policiesShow(), c.app.policiesTest(), c.app.policiesLint(), c.app.policiesNew(), c.app.policiesDocs(), c.app.policiesFmt(), c.app.policiesInput())
}

func (a *app) policiesList() *cobra.Command {
	var o pipeline.Judging
	var list listOptions
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the policies, worst first",
		Example: "  patrol policies list --severity high\n  patrol policies list --framework cis-azure-foundations-6.0",
		Args:    cobra.NoArgs,
		RunE: a.withPolicies(&o, func(ctx context.Context, set *pipeline.Policies, _ []string) error {
			listed := set.Every() // those over waivers, too, which no flag selects
			if o.Narrowed() {
				listed = set.Chosen.Policies()
			}
			return writeRows(ctx, a, list.format.word, []table.Column[engine.Policy]{
				table.Plain("id", 10, func(p engine.Policy) any { return p.ID }).Rank(1, 0),
				table.Plain("severity", 10, func(p engine.Policy) any { return string(p.Severity) }).Rank(2, 0),
				table.Plain("resource", 10, func(p engine.Policy) any { return string(p.Resource) }).Rank(5, 0),
				table.Plain("title", 40, func(p engine.Policy) any {
					if p.Off != "" {
						return p.Title + " (disabled)"
					}
					return p.Title
				}).Rank(3, 24),
				table.Plain("remedy", 14, func(p engine.Policy) any { return string(p.Remedy) }).Rank(4, 0),
				table.Plain("disabled", 20, func(p engine.Policy) any { return p.Off }),
			}, set.InForce(listed))
		}),
	}
	addSelectionFlags(cmd.Flags(), &o)
	list.addFlags(cmd.Flags())
	return cmd
}

func (a *app) policiesShow() *cobra.Command {
	var o pipeline.Judging
	var source bool
	var explain string
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show a policy: meaning, parameters in force and where they come from, controls",
		Example: "  patrol policies show PAT-002\n  patrol policies show sat:IA-4 --source\n  patrol policies show PAT-004 --explain 3922b2f6",
		Args:    cobra.ExactArgs(1),
		RunE: a.withPolicies(&o, func(ctx context.Context, set *pipeline.Policies, args []string) error {
			policy, ok := set.Policy(args[0])
			if !ok {
				return engine.UsageError("show policy", args[0], "See `patrol policies list` for the ids.", fmt.Errorf("no policy has this id or alias"))
			}
			if explain != "" && policy.Resource == engine.ResourceWaiver {
				return engine.UsageError("explain", args[0], "Run `patrol waivers check`: it tells which waivers are refused and why.", fmt.Errorf("it judges waivers"))
			}
			if explain != "" {
				return a.explain(ctx, set, policy, explain)
			}
			showPolicy(a.env.stdout, set, policy)
			if source {
				fmt.Fprintf(a.env.stdout, "\n%s", safeSource(policy.Source))
			}
			return nil
		}),
	}
	addPackFlags(cmd.Flags(), &o)
	cmd.Flags().StringVar(&explain, "explain", "", "tell why this `token` (its id or the beginning of it) or workspace (name or id) passes or fails")
	cmd.Flags().BoolVar(&source, "source", false, "print the Rego as well")
	return cmd
}

func showPolicy(w io.Writer, set *pipeline.Policies, p engine.Policy) {
	p = set.InForce([]engine.Policy{p})[0]
	fmt.Fprintf(w, "%s  %s\n\n%s\n\n", p.ID, p.Title, hang("", p.Description, helpWidth))
	severity := string(p.Severity)
	if p.SetSeverity != "" {
		severity = fmt.Sprintf("%s (%s; default %s)", p.Severity, p.SetSeverity, p.OwnSeverity)
	}
	fmt.Fprintf(w, "severity     %s\n", severity)
	if p.Off != "" {
		fmt.Fprintf(w, "disabled     %s\n", p.Off)
	}
	fmt.Fprintf(w, "judges       %s\nremedy       %s\nneeds        %s\n", judges(p), p.Remedy, strings.Join(p.Needs, ", "))
	fmt.Fprintf(w, "file         %s (%s)\n", p.File, p.Pack)
	if len(p.Aliases) > 0 {
		fmt.Fprintf(w, "aliases      %s\n", strings.Join(p.Aliases, ", "))
	}
	if p.Remediation != "" {
		fmt.Fprintf(w, "\nWhat to do\n%s\n", hang("", p.Remediation, helpWidth))
	}
	if len(p.Params) > 0 {
		fmt.Fprintln(w, "\nParameters")
	}
	for _, param := range p.Params {
		fmt.Fprintf(w, "  %s = %s  (%s)\n      %s\n", param.Name, jsonText(param.Value), param.Origin, param.Description)
	}
	if len(p.Controls) > 0 {
		fmt.Fprintln(w, "\nControls")
	}
	for _, framework := range engine.SortedKeys(p.Controls) {
		fmt.Fprintf(w, "  %s: %s\n", framework, strings.Join(p.Controls[framework], ", "))
	}
	place := ""
	for _, o := range p.Overrides { // what changes in workspaces that match
		if o.Place != place {
			place = o.Place
			fmt.Fprintf(w, "\nWhere %s (%s)\n", o.Match, place)
		}
		value := jsonText(o.Value)
		if o.Key == "severity" {
			value = fmt.Sprint(o.Value)
		}
		fmt.Fprintf(w, "  %s = %s  (%s)\n", strings.TrimPrefix(o.Key, "params."), value, o.Origin)
	}
}

// safeSource is Rego for a terminal: line feeds and tabs stay.
func safeSource(text string) string {
	parts := strings.Split(text, "\t")
	for i, part := range parts {
		parts[i] = engine.SafeLines(part)
	}
	return strings.Join(parts, "\t")
}

func judges(p engine.Policy) string {
	if p.Resource == engine.ResourceToken {
		return string(p.Judges) + " tokens"
	}
	return string(p.Resource) + "s"
}

func jsonText(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

// explain tells why a policy passes or fails the resources of the newest
// snapshots that are meant: the facts, the parameters, and the lines of Rego.
func (a *app) explain(ctx context.Context, set *pipeline.Policies, policy engine.Policy, resource string) error {
	return a.Explain(ctx, set, policy, resource, func(name string, asOf time.Time, e eval.Explanation) error {
		w := a.env.stdout
		name, e = engine.Pseudonymised(a.Names, name), engine.Pseudonymised(a.Names, e)
		fmt.Fprintf(w, "%s  %s\n%s\nas of %s: %s", policy.ID, policy.Title, engine.SafeText(name), asOf.UTC().Format(time.RFC3339), e.Status)
		if e.Message != "" {
			fmt.Fprintf(w, ": %s", engine.SafeText(e.Message))
		}
		fmt.Fprintln(w)
		for _, part := range []struct {
			title string
			facts []eval.Fact
		}{{"Facts", e.Facts}, {"Parameters", e.Params}} {
			if len(part.facts) > 0 {
				fmt.Fprintf(w, "\n%s\n", part.title)
			}
			for _, fact := range part.facts {
				fmt.Fprintf(w, "  %s = %s\n", strings.TrimPrefix(fact.Name, "params."), engine.SafeText(cmp.Or(fact.Value, "(absent)")))
			}
		}
		if len(e.Lines) > 0 {
			fmt.Fprintf(w, "\nRego (%s)\n", policy.File)
		}
		for _, line := range e.Lines {
			mark := "holds     "
			if !line.Held {
				mark = "does not  "
			}
			fmt.Fprintf(w, "  %4d  %s%s\n", line.Row, mark, engine.SafeText(line.Text))
		}
		fmt.Fprintln(w)
		return nil
	})
}

// policiesInput prints what policies see of a token or a workspace.
func (a *app) policiesInput() *cobra.Command {
	var o pipeline.Judging
	cmd := &cobra.Command{
		Use:   "input TOKEN|WORKSPACE",
		Short: "Print what policies see of a token or a workspace, as a fixture for their tests",
		Long: "Prints the input of policies for a token (its id or the beginning of it) or a workspace (name or id) of the newest snapshots, as\n" +
			"JSON, without secrets. A test of Rego can read it: with input as {…}. The parameters are missing: each policy has its own.",
		Example: "  patrol policies input 3922b2f6 > token.json\n  patrol policies input prod-analytics | jq .workspace",
		Args:    cobra.ExactArgs(1),
		RunE: a.withPolicies(&o, func(ctx context.Context, set *pipeline.Policies, args []string) error {
			print := func(_ string, _ time.Time, e eval.Explanation) error {
				if e.Input == "" {
					return engine.UsageError("print input of", args[0], "See `patrol snapshots show latest`.", errors.New(e.Message))
				}
				var value any
				decoder := json.NewDecoder(strings.NewReader(engine.Pseudonymised(a.Names, e.Input)))
				decoder.UseNumber()
				if err := decoder.Decode(&value); err != nil {
					return err
				}
				return a.writeJSON(value)
			}
			for _, resource := range []engine.Resource{engine.ResourceToken, engine.ResourceWorkspace} {
				i := slices.IndexFunc(set.All.Policies(), func(p engine.Policy) bool {
					return p.Resource == resource && p.Pack == policy.BuiltIn && !slices.ContainsFunc(p.Needs, func(section string) bool { return section != "tokens" && section != "workspace" })
				})
				if i < 0 {
					continue
				}
				err := a.Explain(ctx, set, set.All.Policies()[i], args[0], print)
				if known, is := engine.AsError(err); !is || known.Op != "explain" {
					return err
				}
			}
			return engine.UsageError("print input of", args[0], "See `patrol tokens` for the ids, and `patrol snapshots list` for workspaces.", errors.New("no token or workspace of the newest snapshots is called so"))
		}),
	}
	addPackFlags(cmd.Flags(), &o)
	return cmd
}
