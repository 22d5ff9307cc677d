package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/cmd/internal/config"
	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports/table"

	"github.com/spf13/pflag"
)

// parsedFlag is a flag whose text a function reads into a value.
type parsedFlag[T any] struct {
	value *T
	kind  string // what help calls the value
	parse func(string) (T, error)
	text  func(T) string
}

func (f parsedFlag[T]) Set(text string) error {
	value, err := f.parse(text)
	if err == nil {
		*f.value = value
	}
	return err
}

func (f parsedFlag[T]) String() string { return f.text(*f.value) }

func (f parsedFlag[T]) Type() string { return f.kind }

// Years between which an instant can be meant: Databricks is of 2013, its tokens
// are younger.
const firstYear, lastYear = 2015, 2100

// parseInstant reads a moment: RFC 3339, or a day (its first moment, UTC).
func parseInstant(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		if year := t.UTC().Year(); year < firstYear || year > lastYear {
			return t, fmt.Errorf("%q is not within %d to %d, the time of the platform", text, firstYear, lastYear)
		}
		return t.UTC(), nil
	}
	return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-11-24T12:00:00Z nor a day such as 2026-11-24", text)
}

func instantText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// instantFlag is a flag that holds a moment; the zero time is none.
func instantFlag(t *time.Time) pflag.Value {
	return parsedFlag[time.Time]{t, "time", parseInstant, instantText}
}

func severityFlag(s *engine.Severity) pflag.Value {
	return parsedFlag[engine.Severity]{s, "severity", engine.ParseSeverity, func(s engine.Severity) string { return string(s) }}
}

// thresholdFlag is a flag that holds a severity or "none".
func thresholdFlag(t *engine.Threshold) pflag.Value {
	return parsedFlag[engine.Threshold]{t, "severity", engine.ParseThreshold, engine.Threshold.String}
}

// percentFlag is a flag that holds a whole percentage.
func percentFlag(n *int) pflag.Value {
	return parsedFlag[int]{n, "percent", func(text string) (int, error) {
		n, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
		if err != nil || n < 0 || n > 100 {
			return 0, fmt.Errorf("%q is no whole percentage from 0 to 100", text)
		}
		return n, nil
	}, strconv.Itoa}
}

// shardFlag is a flag that holds which part of the workspaces to read: i/n, from
// 0/n to n-1/n.
func shardFlag(s *pipeline.Shard) pflag.Value {
	return parsedFlag[pipeline.Shard]{s, "shard", func(text string) (pipeline.Shard, error) {
		index, count, _ := strings.Cut(text, "/")
		i, errIndex := strconv.Atoi(index)
		n, errCount := strconv.Atoi(count)
		if errIndex != nil || errCount != nil || n < 1 || i < 0 || i >= n {
			return pipeline.Shard{}, fmt.Errorf("%q is no shard such as 0/8, the first of eight, or 7/8, the last", text)
		}
		return pipeline.Shard{Index: i, Count: n}, nil
	}, func(s pipeline.Shard) string {
		if s.Count == 0 {
			return ""
		}
		return fmt.Sprintf("%d/%d", s.Index, s.Count)
	}}
}

// addSeverityFlags adds the flags that choose by severity; what says what they
// choose: policies or findings.
func addSeverityFlags(flags *pflag.FlagSet, s *pipeline.Severities, what string) {
	words := severityWords()
	flags.StringSliceVar(&s.Any, "severity", nil, "only "+what+" of these `severities`: "+strings.Join(words, ", "))
	flags.Var(severityFlag(&s.Least), "min-severity", "only "+what+" of this severity or worse")
	ofWords(flags, "severity", words...)
	ofWords(flags, "min-severity", words...)
}

func severityWords() []string { return engine.Severity("").Words() }

// addSourceFlags adds the flags that say which workspaces are read, and how.
func addSourceFlags(all *pflag.FlagSet, s *pipeline.Source) {
	inGroup(all, flagsConnection, func(flags *pflag.FlagSet) {
		flags.StringSliceVar(&s.Profiles, "profile", nil, "read the workspaces of these profiles of .databrickscfg: `names` (repeatable)")
		flags.StringVar(&s.Account, "account", "", "read all workspaces of the account of this `profile`")
		flags.StringArrayVar(&s.From, "from", nil, "judge the list of tokens in this `file` (- for standard input): JSON or CSV (repeatable)")
		flags.BoolVar(&s.AcceptEmpty, "accept-empty", false, "a file of --from without rows is a workspace without tokens")
		flags.StringSliceVar(&s.AcceptShrink, "accept-shrink", nil, "believe these `lists` although they lost a fifth or more: "+strings.Join(pipeline.Shrinkable(), ", "))
		ofWords(flags, "accept-shrink", pipeline.Shrinkable()...)
		addConnectionFlags(flags, s)
		flags.IntVar(&s.Parallel, "parallel", 0, "workspaces read at once (default 4, and 16 where an account lists them)")
		addRequestFlags(flags, s)
		flags.StringVar(&s.AuditChanges, "audit-changes", "", "exported audit log that says who changed settings and grants: a `file` with the rows of the second query of patrol help usage-queries")
		flags.StringVar(&s.TokenReport, "token-report", "", "compare with this token report of the account console, a CSV `file`")
		flags.DurationVar(&s.RetryBudget, "retry-budget", pipeline.DefaultRetryBudget, "longest waiting of a section, and of a workspace, when it is busy or fails (0s: never try again)")
	})
}

// addConnectionFlags adds how workspaces are reached.
func addConnectionFlags(flags *pflag.FlagSet, s *pipeline.Source) {
	flags.StringVar(&s.CAFile, "ca-file", "", "trust the certificates in this PEM `file` as well")
	flags.BoolVar(&s.NoProxy, "no-proxy", false, "connect directly, without the proxy of HTTPS_PROXY")
}

// addRequestFlags adds what is read beside an ordinary audit, for a token alone too.
func addRequestFlags(flags *pflag.FlagSet, s *pipeline.Source) {
	flags.StringSliceVar(&s.With, "with", nil, "read these `sections` too: "+strings.Join(pipeline.SectionsOnRequest(), ", "))
	ofWords(flags, "with", pipeline.SectionsOnRequest()...)
	flags.StringVar(&s.Usage, "usage", "", "read from the audit log how tokens are used, by read-only queries on this SQL warehouse: `warehouse:ID`")
	flags.StringVar(&s.AuditLog, "audit-log", "", "exported audit log that says how tokens are used: a `file` with the rows of the first query of patrol help usage-queries")
}

// addJudgeFlags adds the flags that say which policies judge, and as of when.
func addJudgeFlags(all *pflag.FlagSet, o *pipeline.Judging) {
	inGroup(all, flagsJudging, func(flags *pflag.FlagSet) {
		addSelectionFlags(flags, o)
		flags.Var(instantFlag(&o.AsOf), "as-of", "judge as of this moment (default: of the newest snapshot)")
		flags.StringVar(&o.WhatIf, "what-if", "", "store it apart under this `name`, as what would be (implied by --as-of another day)")
		o.FailOn = engine.FailOn(engine.Low)
		flags.Var(thresholdFlag(&o.FailOn), "fail-on", "exit 1 on findings of this severity or worse: critical, high, medium, low, info, none")
		ofWords(flags, "fail-on", append(severityWords(), "none")...)
		o.MinCoverage = pipeline.Everything
		flags.Var(percentFlag(&o.MinCoverage), "min-coverage", "exit 4 when less than this percentage of the expected workspaces was read")
		x := &o.Exceptions
		addWaiversFlag(flags, x)
		flags.StringVar(&x.Baseline, "baseline", "", "excuse the findings that this `file` lists, so that only new ones fail")
		flags.StringSliceVar(&x.Critical, "baseline-critical", nil, "baselines may hold critical findings of these policies: `ids` or aliases")
		flags.StringVar(&x.Create, "create-baseline", "", "write the findings that fail now to this `file`, for --baseline")
		flags.BoolVar(&o.NoPrefilter, "no-prefilter", false, "run every policy on every token; the results are the same")
	})
}

// addSelectionFlags adds the flags that choose policies, without those of judging.
func addSelectionFlags(all *pflag.FlagSet, o *pipeline.Judging) {
	inGroup(all, flagsSelection, func(flags *pflag.FlagSet) {
		addPackFlags(flags, o)
		flags.StringSliceVar(&o.Only, "only", nil, "only these policies: `ids` or aliases")
		flags.StringSliceVar(&o.Exclude, "exclude", nil, "all policies but these: `ids` or aliases")
		addSeverityFlags(flags, &o.Severity, "policies")
		flags.StringVar(&o.Framework, "framework", "", "only policies of this framework or control: `name[:control]`")
	})
}

// addPackFlags adds the flags that load more policies.
func addPackFlags(flags *pflag.FlagSet, o *pipeline.Judging) {
	flags.StringArrayVarP(&o.Packs, "policy", "p", nil, "load this `directory` or OPA bundle (.tar.gz) of policies too (repeatable)")
	flags.StringVar(&o.PackKey, "policy-key", "", "bundles must be signed by this public key (PEM `file`)")
}

func addWaiversFlag(flags *pflag.FlagSet, x *pipeline.ExceptionPaths) {
	flags.StringVar(&x.Waivers, "waivers", "waivers.yaml", "excuse findings by the waivers in this `file`")
}

// loadPolicies loads the policies of this run.
func (a *app) loadPolicies(ctx context.Context, o *pipeline.Judging) (*pipeline.Policies, error) {
	o.Exceptions.WaiversOptional = a.origins["waivers"] == "default"
	return a.LoadPolicies(ctx, o)
}

// choice is a flag that holds one of a few words.
type choice struct {
	word string
	of   []string
}

func (c *choice) String() string { return c.word }

func (c *choice) Set(text string) error {
	if !slices.Contains(c.of, text) {
		return fmt.Errorf("unknown format %q: want one of %s", text, strings.Join(c.of, ", "))
	}
	c.word = text
	return nil
}

func (c *choice) Type() string { return "format" }

// Leaves reports whether a value of the environment is meant for the reports,
// whose flag has the same name: formats of reports, of which this command has
// none. It then keeps its default.
func (c *choice) Leaves(text string) bool {
	for name := range strings.SplitSeq(text, ",") {
		if !slices.Contains(formatNames(), strings.TrimSpace(name)) {
			return false
		}
	}
	return !slices.Contains(c.of, text)
}

// addFormatFlag adds a flag that chooses how a command writes; the first of the
// forms is the default.
func addFormatFlag(flags *pflag.FlagSet, format *choice, forms ...string) {
	*format = choice{word: forms[0], of: forms}
	flags.Var(format, "format", "how to write it: "+strings.Join(forms, ", "))
	config.OwnPlace(flags, "format") // the file's is that of reports
	ofWords(flags, "format", forms...)
}

// filter is what lists of tokens, of findings and of the steps of a plan are
// narrowed by alike. An empty list chooses all.
type filter struct {
	workspaces, labels, owners, policies []string
	limit                                int // 0: all
}

// addFlags adds the flags but --policy, which means more in some commands.
func (f *filter) addFlags(all *pflag.FlagSet, limit string) {
	addWorkspaceFlag(all, &f.workspaces)
	inGroup(all, flagsSelection, func(flags *pflag.FlagSet) {
		flags.StringSliceVar(&f.labels, "label", nil, "workspace has all of these labels: `name=glob`")
		flags.StringSliceVar(&f.owners, "owner", nil, "owner's name or id matches one of these `globs`")
	})
	all.IntVar(&f.limit, "limit", 0, limit)
}

func addWorkspaceFlag(all *pflag.FlagSet, workspaces *[]string) {
	inGroup(all, flagsSelection, func(flags *pflag.FlagSet) {
		flags.StringSliceVar(workspaces, "workspace", nil, "workspace's name or id matches one of these `globs`")
	})
}

// check refuses labels and limits that make no sense.
func (f *filter) check() error {
	for _, label := range f.labels {
		if name, _, given := strings.Cut(label, "="); !given || name == "" {
			return engine.UsageError("read flag", "--label", "Give a name and what its value matches, such as env=prod*.", fmt.Errorf("%q is no label", label))
		}
	}
	if f.limit < 0 {
		return engine.UsageError("read flag", "--limit", "Give how many to list; 0 lists all.", fmt.Errorf("%d is negative", f.limit))
	}
	return nil
}

// workspace reports whether a workspace is chosen, by name or id and by labels.
func (f *filter) workspace(w engine.Workspace) bool {
	for _, label := range f.labels {
		name, pattern, _ := strings.Cut(label, "=")
		as, set := config.LabelIn(w.Labels, name)
		if !set || !engine.MatchGlob(pattern, w.Labels[as]) {
			return false
		}
	}
	return anyGlob(f.workspaces, w.Name, w.ID)
}

// anyGlob reports whether any of some texts matches any of some globs; no glob
// matches all, and an empty text none.
func anyGlob(globs []string, texts ...string) bool {
	return len(globs) == 0 || slices.ContainsFunc(globs, func(pattern string) bool {
		glob := engine.NewGlob(strings.TrimSpace(pattern))
		return slices.ContainsFunc(texts, func(text string) bool { return text != "" && glob.Matches(strings.ToLower(text)) })
	})
}

// listFilter is a filter, the kind of owner, and an order.
type listFilter struct {
	filter
	kind, sort string
}

// addFlags adds the flags; columns are those to order by, column the default.
func (f *listFilter) addFlags(all *pflag.FlagSet, column string, columns []string) {
	f.filter.addFlags(all, "list the first so many (0: all)")
	inGroup(all, flagsSelection, func(flags *pflag.FlagSet) {
		flags.StringVar(&f.kind, "kind", "", "owner is of this `kind`: user, service_principal, missing")
	})
	all.StringVar(&f.sort, "sort", column, "order by this `column`: "+strings.Join(columns, ", ")+"; -column for the other way round")
	ofWords(all, "kind", ownerKinds()...)
	ofWords(all, "sort", columns...)
}

// check refuses unknown kinds, and labels and limits that make no sense.
func (f *listFilter) check() error {
	return cmp.Or(checkWord("--kind", f.kind, ownerKinds()...), f.filter.check())
}

// listOptions say in which form a list is written, and of which workspaces.
type listOptions struct {
	format     choice
	workspaces []string // globs
}

func (o *listOptions) addFlags(all *pflag.FlagSet) {
	inGroup(all, flagsOutput, func(flags *pflag.FlagSet) { addFormatFlag(flags, &o.format, "table", "csv", "json") })
}

// writeRows writes rows to standard output.
func writeRows[T any](ctx context.Context, a *app, format string, columns []table.Column[T], rows []T) error {
	return table.Write(ctx, a.env.stdout, format, columns, table.Known(engine.Pseudonymised(a.Names, rows)), a.listOptions("-"))
}

// writeJSON writes a value to standard output.
func (a *app) writeJSON(value any) error { return encodeJSON(a.env.stdout, value) }

// encodeJSON writes a value as JSON that does nothing on a terminal.
func encodeJSON(w io.Writer, value any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(engine.EscapeJSON(b.Bytes()))
	return err
}

// productOptions say in which form a list from the database is written, and
// where to.
type productOptions struct {
	format choice
	output string
}

// addFlags adds the flags; the first of the forms is the default.
func (o *productOptions) addFlags(all *pflag.FlagSet, forms ...string) {
	inGroup(all, flagsOutput, func(flags *pflag.FlagSet) {
		addFormatFlag(flags, &o.format, forms...)
		flags.StringVarP(&o.output, "output", "o", "-", "write to this `file` (- for standard output)")
		config.OwnPlace(flags, "output")
	})
}

// withProduct opens the database for a list that can be written.
func (a *app) withProduct(ctx context.Context, o *productOptions, work func(*store.DB) error) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	return a.WithStore(ctx, store.ReadOnly, work)
}

// checkOutput reports whether a file could be written; standard output always can.
func checkOutput(path string) error {
	if path == "-" {
		return nil
	}
	return outfile.Check(path)
}

// writeProduct writes a list to standard output, or into a file that appears
// whole: only if the snapshots that it was made from are what was sealed.
func (a *app) writeProduct(ctx context.Context, db *store.DB, o *productOptions, from []engine.Snapshot, fill func(io.Writer, table.Options) error) error {
	files := outfile.Files{}.OnlyIf(func() error { return db.Intact(ctx, from...) })
	write := func(w io.Writer) error { return fill(w, a.listOptions(o.output)) }
	if o.output == "-" {
		return files.Fill(a.env.stdout, write)
	}
	return files.Write(o.output, write)
}

// listOptions are those of a list that is written to a path, or to standard
// output (-): only a terminal is too narrow for anything.
func (a *app) listOptions(output string) table.Options {
	o := a.tableOptions()
	o.Whole = output != "-" || !a.env.stdoutTerminal
	o.Color = o.Color && output == "-"
	return o
}

// tableOptions are those of this terminal.
func (a *app) tableOptions() table.Options {
	return table.Options{Width: a.env.width, Color: a.env.color(a.noColor)}
}
