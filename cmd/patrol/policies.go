package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/reports/table"

	"github.com/spf13/cobra"
)

// Policies shows the policies and what is in force.
func (c commands) Policies() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policies",
		Short: "Show the policies",
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.app.policiesList(), c.app.policiesShow(), c.app.policiesTest(), c.app.policiesLint(), c.app.policiesNew(), c.app.policiesDocs(), c.app.policiesFmt(), c.app.policiesInput())
	return cmd
}

func (a *app) policiesList() *cobra.Command {
	var o pipeline.Judging
	var list listOptions
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the policies, worst first",
		Example: "  patrol policies list --severity high\n  patrol policies list --framework cis-azure-foundations-6.0",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := a.loadPolicies(cmd.Context(), &o)
			if err != nil {
				return err
			}
			listed := set.Every() // those over waivers, too, which no flag selects
			if o.Narrowed() {
				listed = set.Chosen.Policies()
			}
			return writeList(cmd.Context(), a, list.format, []table.Column[engine.Policy]{
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
		},
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
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := a.loadPolicies(cmd.Context(), &o)
			if err != nil {
				return err
			}
			policy, ok := set.Policy(args[0])
			if !ok {
				return engine.UsageError("show policy", args[0], "See `patrol policies list` for the ids.", fmt.Errorf("no policy has this id or alias"))
			}
			if explain != "" && policy.Resource == engine.ResourceWaiver {
				return engine.UsageError("explain", args[0], "Run `patrol waivers check`: it tells which waivers are refused and why.", fmt.Errorf("it judges waivers"))
			}
			if explain != "" {
				return a.explain(cmd.Context(), set, policy, explain)
			}
			showPolicy(a.env.stdout, set, policy)
			if source {
				fmt.Fprintf(a.env.stdout, "\n%s", safeSource(policy.Source))
			}
			return nil
		},
	}
	addPackFlags(cmd.Flags(), &o)
	cmd.Flags().StringVar(&explain, "explain", "", "tell why this `token` (its id or the beginning of it) or workspace (name or id) passes or fails")
	cmd.Flags().BoolVar(&source, "source", false, "print the Rego as well")
	return cmd
}

func showPolicy(w io.Writer, set *pipeline.Policies, p engine.Policy) {
	p = set.InForce([]engine.Policy{p})[0]
	fmt.Fprintf(w, "%s  %s\n\n%s\n\n", p.ID, p.Title, fold(p.Description, 80))
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
		fmt.Fprintf(w, "\nWhat to do\n%s\n", fold(p.Remediation, 80))
	}
	showParams(w, p)
	showControls(w, p)
	showOverrides(w, p)
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

func showParams(w io.Writer, p engine.Policy) {
	if len(p.Params) == 0 {
		return
	}
	fmt.Fprintln(w, "\nParameters")
	for _, param := range p.Params {
		fmt.Fprintf(w, "  %s = %s  (%s)\n      %s\n", param.Name, jsonText(param.Value), param.Origin, param.Description)
	}
}

func showControls(w io.Writer, p engine.Policy) {
	if len(p.Controls) == 0 {
		return
	}
	fmt.Fprintln(w, "\nControls")
	for _, framework := range engine.SortedKeys(p.Controls) {
		fmt.Fprintf(w, "  %s: %s\n", framework, strings.Join(p.Controls[framework], ", "))
	}
}

// showOverrides tells what changes in workspaces that match.
func showOverrides(w io.Writer, p engine.Policy) {
	place := ""
	for _, o := range p.Overrides {
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

func jsonText(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

// fold breaks text into lines of at most width columns, at spaces.
func fold(text string, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
