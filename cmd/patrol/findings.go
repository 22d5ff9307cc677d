package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"patrol/cmd/internal/config"
	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/store"
	"patrol/reports"
	"patrol/reports/table"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// findingsOptions say which findings of an evaluation are listed, and how.
type findingsOptions struct {
	listFilter
	severity   pipeline.Severities
	statuses   []string
	control    string
	onlyNew    bool
	since      moment
	group      string
	evaluation int64
	product    productOptions
}

// Findings lists the findings of an evaluation.
func (c commands) Findings() *cobra.Command {
	o := findingsOptions{}
	cmd := &cobra.Command{
		Use:   "findings",
		Short: "List, filter, sort and group the findings of the latest evaluation",
		Long: "Lists the findings of the latest evaluation: what failed, is unknown, waived or baselined. Filters narrow each other; a list of\n" +
			"values means any of them. JSON has the objects that audit.json has in results.",
		Example: "  patrol findings --severity critical,high --workspace 'prod-*'\n  patrol findings --group owner --limit 10\n" +
			"  patrol findings --new --format json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.app.findings(cmd.Context(), &o) },
	}
	flags := cmd.Flags()
	inGroup(flags, flagsSelection, func(flags *pflag.FlagSet) {
		flags.StringSliceVar(&o.policies, "policy", nil, "findings of these policies: `ids` or aliases")
		addSeverityFlags(flags, &o.severity, "findings")
		flags.StringSliceVar(&o.statuses, "status", nil, "findings of these `statuses`: fail, unknown, error, waived, baselined")
		flags.StringVar(&o.control, "control", "", "policies that serve this framework or control: `framework[:control]`")
		flags.BoolVar(&o.onlyNew, "new", false, "findings that the evaluation before did not have")
		flags.Var(&o.since, "since", "findings first seen at this moment or later (a day, a time, or -7d)")
	})
	o.addFlags(flags, "severity", engine.SortedKeys(findingOrders))
	flags.StringVar(&o.group, "group", "", "count by workspace, owner, policy or token (`column`) instead, the worst first")
	addEvaluationFlag(flags, &o.evaluation)
	ofWords(flags, "status", findingStatuses()...)
	ofWords(flags, "group", engine.SortedKeys(findingGroups)...)
	o.product.addFlags(flags, "table", "csv", "json")
	for _, name := range []string{"policy", "severity", "min-severity"} { // elsewhere they choose what judges
		config.OwnPlace(flags, name)
	}
	return cmd
}

// findingOrders are the columns that findings can be ordered by.
var findingOrders = map[string]func(a, b engine.Finding) int{
	"severity":  func(a, b engine.Finding) int { return cmp.Compare(a.Severity.Rank(), b.Severity.Rank()) },
	"policy":    func(a, b engine.Finding) int { return cmp.Compare(a.Policy, b.Policy) },
	"status":    func(a, b engine.Finding) int { return cmp.Compare(a.Status, b.Status) },
	"workspace": func(a, b engine.Finding) int { return cmp.Compare(a.Workspace, b.Workspace) },
	"owner":     func(a, b engine.Finding) int { return cmp.Compare(strings.ToLower(a.Owner), strings.ToLower(b.Owner)) },
	"token":     func(a, b engine.Finding) int { return cmp.Compare(a.ResourceID, b.ResourceID) },
	"since":     func(a, b engine.Finding) int { return a.Since.Compare(b.Since) },
}

// findingGroups name what findings can be counted by.
var findingGroups = map[string]func(engine.Finding) string{
	"workspace": func(f engine.Finding) string { return f.Workspace },
	"owner":     func(f engine.Finding) string { return cmp.Or(f.Owner, "(workspace)") },
	"policy":    func(f engine.Finding) string { return f.Policy },
	"token": func(f engine.Finding) string {
		if f.Resource == engine.ResourceWorkspace {
			return f.Workspace + " (workspace)"
		}
		return f.Workspace + " " + f.ResourceID
	},
}

// check refuses unknown words: a misspelt filter matches nothing, which would look
// like a clean workspace.
func (o *findingsOptions) check() (order func(a, b engine.Finding) int, err error) {
	if err := o.severity.Check(); err != nil {
		return nil, err
	}
	for _, word := range o.statuses {
		if err := checkWord("--status", word, findingStatuses()...); err != nil {
			return nil, err
		}
	}
	if err := cmp.Or(o.listFilter.check(), checkWord("--group", o.group, engine.SortedKeys(findingGroups)...)); err != nil {
		return nil, err
	}
	return orderBy(o.sort, findingOrders)
}

// orderBy is the order of a column; -column is the other way round.
func orderBy[T any](column string, orders map[string]func(a, b T) int) (func(a, b T) int, error) {
	column, reverse := strings.CutPrefix(column, "-")
	order := orders[column]
	if reverse {
		order = func(a, b T) int { return orders[column](b, a) }
	}
	return order, checkWord("--sort", column, engine.SortedKeys(orders)...)
}

func findingStatuses() []string {
	return []string{string(engine.Fail), string(engine.Unknown), string(engine.Errored), string(engine.Waived), string(engine.Baselined)}
}

func ownerKinds() []string {
	return []string{string(engine.User), string(engine.ServicePrincipal), string(engine.Missing)}
}

// checkWord refuses a word that is given and not known.
func checkWord(flag, word string, known ...string) error {
	if word == "" || slices.Contains(known, word) {
		return nil
	}
	return engine.UsageError("read flag", flag, "Give one of "+strings.Join(known, ", ")+".", fmt.Errorf("%q is none of them: %s", word, engine.DidYouMean(word, known)))
}

func (a *app) findings(ctx context.Context, o *findingsOptions) error {
	order, err := o.check()
	if err != nil {
		return err
	}
	return a.withProduct(ctx, &o.product, func(db *store.DB) error {
		report, err := a.Evaluation(ctx, db, o.evaluation)
		if err != nil {
			return err
		}
		keeps, err := o.filter(report)
		if err != nil {
			return err
		}
		var found []engine.Finding
		for f, err := range report.Findings {
			if err != nil {
				return err
			}
			if keeps(f) {
				found = append(found, engine.Pseudonymised(a.Names, f.Redacted()))
			}
		}
		slices.SortStableFunc(found, order)
		err = a.writeProduct(ctx, db, &o.product, judged(report), func(w io.Writer, options table.Options) error {
			options.Limit = o.limit
			if o.group != "" {
				return reports.FindingGroups(ctx, w, o.product.format.word, reports.GroupFindings(found, findingGroups[o.group]), o.group, options)
			}
			return reports.Findings(ctx, w, o.product.format.word, found, report.AsOf, options)
		})
		if err == nil && report.Narrowed {
			a.say("the evaluation ran some policies only: %s", plural(len(report.Policies), "policy"))
		}
		return err
	})
}

// filter is which findings are listed.
func (o *findingsOptions) filter(report engine.Report) (func(engine.Finding) bool, error) {
	ofPolicies, err := policiesNamed(report, o.policies)
	if err != nil {
		return nil, err
	}
	if o.control != "" {
		framework, control, _ := strings.Cut(o.control, ":")
		serving := map[string]bool{}
		for _, p := range report.Policies {
			if pipeline.Serves(p.Policy, framework, control) {
				serving[p.Policy.ID] = ofPolicies == nil || ofPolicies[p.Policy.ID]
			}
		}
		if len(serving) == 0 {
			return nil, engine.UsageError("read flag", "--control", "`patrol policies list --framework NAME` shows what serves a framework.", fmt.Errorf("no policy of the evaluation serves %q", o.control))
		}
		ofPolicies = serving
	}
	there := map[string]bool{} // workspaces that are chosen, by id
	for _, w := range report.Workspaces {
		there[w.Snapshot.Workspace.ID] = o.workspace(w.Snapshot.Workspace)
	}
	var ofKind map[[2]string]bool
	if o.kind != "" {
		ofKind = map[[2]string]bool{}
		for row, err := range report.Tokens {
			if err != nil {
				return nil, err
			}
			if string(row.Owner.Kind) == o.kind {
				ofKind[[2]string{row.Workspace.ID, row.Token.ID}] = true
			}
		}
	}
	return func(f engine.Finding) bool {
		return (ofPolicies == nil || ofPolicies[f.Policy]) &&
			o.severity.Wants(f.Severity) &&
			(len(o.statuses) == 0 || slices.Contains(o.statuses, string(f.Status))) &&
			there[f.WorkspaceID] &&
			anyGlob(o.owners, f.Owner, f.OwnerID) &&
			(ofKind == nil || f.Resource == engine.ResourceToken && ofKind[[2]string{f.WorkspaceID, f.ResourceID}]) &&
			(!o.onlyNew || f.Since.Equal(report.AsOf)) &&
			(!o.since.set || !f.Since.IsZero() && f.Since.UnixMilli() >= o.since.at(report.AsOf))
	}, nil
}

// policiesNamed are the policies of a report by their ids or aliases; nil: all.
func policiesNamed(report engine.Report, names []string) (map[string]bool, error) {
	if len(names) == 0 {
		return nil, nil
	}
	named, known := map[string]bool{}, []string{}
	for _, p := range report.Policies {
		known = append(known, p.Policy.ID)
	}
	for _, name := range names {
		i := slices.IndexFunc(report.Policies, func(p engine.PolicyReport) bool { return pipeline.Named(p.Policy, name) })
		if i < 0 {
			return nil, engine.UsageError("read flag", "--policy", "Name policies that the evaluation ran.", fmt.Errorf("the evaluation ran no policy %q: %s", name, engine.DidYouMean(name, known)))
		}
		named[report.Policies[i].Policy.ID] = true
	}
	return named, nil
}
