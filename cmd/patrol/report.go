package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"patrol/cmd/internal/config"
	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports"
	"patrol/reports/deliver"
	"patrol/reports/parquet"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Report writes the reports of the latest evaluation, offline.
func (c commands) Report() *cobra.Command {
	var o reportOptions
	var evaluation int64
	cmd := &cobra.Command{
		Use:     "report",
		Short:   "Write reports of the latest evaluation, offline",
		Long:    "Writes the reports of the latest evaluation in the database again, in any format. Ends with the exit code of that evaluation.\n\n" + exitHelp(exitViolations, exitIncomplete),
		Example: "  patrol report --format xlsx --output-dir auditors\n  patrol report -o findings.csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := c.app.reportOutput(&o)
			if err == nil {
				err = c.app.checkRunDigest(cmd.Context(), &o)
			}
			if err != nil {
				return err
			}
			return c.app.WithStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error {
				report, err := c.app.Evaluation(cmd.Context(), db, evaluation)
				if err != nil {
					return err
				}
				return ended(c.app.WriteReport(cmd.Context(), db, report, out, report.Intact))
			})
		},
	}
	o.addFlags(cmd.Flags())
	addEvaluationFlag(cmd.Flags(), &evaluation)
	cmd.Flags().StringVar(&o.framework, "framework", "", "show where this framework, or one control of it, stands: `name[:control]`")
	return cmd
}

// reportOptions say what to write, and where.
type reportOptions struct {
	formats []string
	dir     string
	output  string

	framework string // to show in the terminal

	metrics, tickets    string
	digestFile, signKey string
	noNotify            bool
}

func (o *reportOptions) addFlags(all *pflag.FlagSet) {
	inGroup(all, flagsOutput, func(flags *pflag.FlagSet) {
		flags.StringSliceVar(&o.formats, "format", []string{"csv", "xlsx", "html", "json"}, "`formats` of the report: "+strings.Join(formatNames(), ", "))
		ofWords(flags, "format", formatNames()...)
		flags.StringVar(&o.dir, "output-dir", "patrol-report", "write the reports into this `directory`, which may hold {date} and {time}")
		flags.StringVarP(&o.output, "output", "o", "", "write one format to this `file` (- for standard output)")
	})
	o.addDigestFlags(all)
	o.addDeliveryFlags(all)
}

// addDeliveryFlags are of files for other tools.
func (o *reportOptions) addDeliveryFlags(all *pflag.FlagSet) {
	inGroup(all, flagsOutput, func(flags *pflag.FlagSet) {
		flags.StringVar(&o.metrics, "metrics", "", "write OpenMetrics to this `file`, for Prometheus' textfile collector")
		flags.StringVar(&o.tickets, "tickets", "", "write each failed finding as a ticket (JSON) into this `directory`; those of findings that are gone move to closed/ in it")
	})
}

// checkDelivery finds, before anything is read, what would keep these files from being written.
func (o *reportOptions) checkDelivery() error {
	if o.metrics != "" {
		if err := outfile.Check(o.metrics); err != nil {
			return err
		}
	}
	if o.tickets != "" {
		return outfile.CheckDir(o.tickets)
	}
	return nil
}

// addNotifyFlag is for commands that judge.
func (o *reportOptions) addNotifyFlag(all *pflag.FlagSet) {
	inGroup(all, flagsOutput, func(flags *pflag.FlagSet) {
		flags.BoolVar(&o.noNotify, "no-notify", false, "send nothing, whatever patrol.yaml says under notify")
	})
}

func formatNames() []string {
	var names []string
	for _, format := range reports.Formats() {
		names = append(names, format.Name)
	}
	return names
}

// reportOutput resolves the formats and finds, before anything is collected, what
// would keep the reports from being written.
func (a *app) reportOutput(o *reportOptions) (*pipeline.Output, error) {
	now := a.env.now()
	o.dir = strings.NewReplacer("{date}", now.UTC().Format(time.DateOnly), "{time}", now.UTC().Format("150405")).Replace(o.dir)
	if strings.ContainsAny(o.dir, "{}") {
		return nil, engine.UsageError("read flag", "--output-dir", "{date} and {time} stand for the day and the time of the run, in UTC.", fmt.Errorf("%q holds another name in braces", o.dir))
	}
	formats, err := o.choose(a.origins["format"])
	if err != nil {
		return nil, err
	}
	if err := o.checkDelivery(); err != nil {
		return nil, err
	}
	out := a.judgedOutput(o)
	out.Formats, out.Dir, out.Path = formats, o.dir, o.output
	if o.output != "" {
		return out, checkOutput(o.output)
	}
	if o.dir == "" {
		return nil, engine.UsageError("read flag", "--output-dir", "Name a directory; . is the one you are in.", errors.New("is empty"))
	}
	if err := outfile.CheckDir(o.dir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.dir); errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	for _, format := range formats {
		if err := checkOutput(filepath.Join(o.dir, format.File)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// runSummary is a run in one line, for those who collect logs.
type runSummary struct {
	Verdict    engine.Verdict          `json:"verdict"`
	AsOf       time.Time               `json:"as_of"`
	WhatIf     string                  `json:"what_if,omitempty"`
	Workspaces int                     `json:"workspaces"`
	Expected   int                     `json:"workspaces_expected"`
	Read       int                     `json:"workspaces_read"`
	Tokens     int                     `json:"tokens"`
	Failed     map[engine.Severity]int `json:"failed"`
	Results    engine.Tally            `json:"results"`
	Files      []string                `json:"files"`
}

// judgedOutput is what an evaluation shows on the terminal, without files.
func (a *app) judgedOutput(o *reportOptions) *pipeline.Output {
	sealed := func(ctx context.Context, report engine.Report, files []string) error {
		return a.writeRunDigest(ctx, report, files, o)
	}
	return &pipeline.Output{Stdout: a.env.stdout, Metrics: o.metrics, Tickets: o.tickets, Written: sealed, Show: func(ctx context.Context, report engine.Report, files []string) error {
		if a.quiet {
			return nil
		}
		if a.logFormat == jsonFormat {
			reach := report.Reach()
			summary := runSummary{Verdict: report.Verdict(), AsOf: report.AsOf.UTC(), WhatIf: report.WhatIf, Workspaces: report.Summary.Workspaces, Expected: reach.Expected, Read: reach.Read,
				Tokens: report.Summary.Tokens, Failed: map[engine.Severity]int{}, Results: report.Summary.Statuses, Files: append([]string{}, files...)}
			for _, severity := range engine.Severities() {
				summary.Failed[severity] = report.Summary.Failed(severity)
			}
			jsonLogger(a.env.stderr).Info("run summary", "summary", summary)
		}
		options := reports.TableOptions{Options: a.tableOptions(), All: a.verbose, Files: files, Framework: cmp.Or(o.framework, report.Framework)}
		return reports.Table(ctx, a.env.stdout, report, options)
	}}
}

// choose resolves the formats. With --output there must be one: the one asked
// for, else the one whose file ends alike. Several formats of the environment or
// the configuration are those of a whole report, of which an output file asks for one.
func (o *reportOptions) choose(origin string) (formats []reports.Format, err error) {
	if o.output == "" || origin != "default" && len(o.formats) == 1 {
		for _, name := range o.formats {
			format, err := reports.Lookup(strings.TrimSpace(name))
			if err != nil {
				return nil, err
			}
			formats = append(formats, format)
		}
		return formats, nil
	}
	if origin == "flag --format" {
		return nil, engine.UsageError("read flag", "--output", "Name one format with --format, or use --output-dir for several.",
			fmt.Errorf("one file cannot hold %d formats", len(o.formats)))
	}
	longest := 0 // ending: out.ocsf.json is OCSF, any other .json is the audit itself
	for _, f := range reports.Formats() {
		_, ending, _ := strings.Cut(f.File, ".")
		if len(ending) > longest && strings.HasSuffix(strings.ToLower(o.output), "."+ending) {
			formats, longest = []reports.Format{f}, len(ending)
		}
	}
	if formats == nil {
		err = engine.UsageError("read flag", "--output", "Name the format with --format.", fmt.Errorf("no format is known by the ending of %q", o.output))
	}
	return formats, err
}

// receivers get a message about a run.
func (a *app) receivers(o *reportOptions) ([]deliver.Receiver, error) {
	if o.noNotify {
		return nil, nil
	}
	return a.Config.Receivers(a.env.lookup)
}

// Export writes tables for other systems.
func (c commands) Export() *cobra.Command {
	var format choice
	var dir, journal string
	var evaluation int64
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write tokens, results and changes as tables for a lakehouse",
		Long: "Writes what the latest evaluation judged and found as Parquet: tokens, results, and changes since each workspace's snapshot\n" +
			"before, partitioned by the day of the snapshot (UTC), as Spark and Delta read them. Each run adds its files to the directory;\n" +
			"the same evaluation and journal write the same files. docs/parquet.md lists the columns.",
		Example: "  patrol export --output-dir /data/patrol",
		Args:    cobra.NoArgs,
		RunE: c.app.reading(func(ctx context.Context, db *store.DB, _ []string) error {
			return c.app.export(ctx, db, evaluation, dir, journal)
		}),
	}
	addFormatFlag(cmd.Flags(), &format, "parquet")
	cmd.Flags().StringVar(&dir, "output-dir", "patrol-tables", "write the tables below this `directory`")
	config.OwnPlace(cmd.Flags(), "output-dir")
	addEvaluationFlag(cmd.Flags(), &evaluation)
	addJournalFlag(cmd.Flags(), &journal)
	return cmd
}

func (a *app) export(ctx context.Context, db *store.DB, evaluation int64, dir, journal string) error {
	if err := outfile.CheckDir(dir); err != nil {
		return err
	}
	report, err := a.Evaluation(ctx, db, evaluation)
	if err != nil {
		return err
	}
	all, err := db.Snapshots(ctx)
	if err != nil {
		return err
	}
	removals, err := a.Removals(ctx, db, journal)
	if err != nil {
		return err
	}
	// A snapshot is chained to the one before by its digest.
	before, read := map[int64]engine.Snapshot{}, judged(report)
	for _, s := range judged(report) {
		for _, candidate := range all {
			if s.Previous != "" && candidate.Digest == s.Previous && candidate.Workspace.ID == s.Workspace.ID {
				before[s.ID] = candidate
			}
		}
		if before[s.ID].ID != 0 {
			read = append(read, before[s.ID])
		}
	}
	// What changed since the snapshot before, and why tokens vanished.
	changes := func(s engine.Snapshot) (engine.Snapshot, iter.Seq2[engine.TokenChange, error], error) {
		before := before[s.ID]
		if !before.Coverage[engine.SectionTokens].Usable() || !s.Coverage[engine.SectionTokens].Usable() {
			return before, nil, nil
		}
		return before, func(yield func(engine.TokenChange, error) bool) {
			for change, err := range db.TokenChanges(ctx, before, s) {
				if err == nil {
					removals.Explain(&change, s)
				}
				if !yield(engine.Pseudonymised(a.Names, change), err) || err != nil {
					return
				}
			}
		}, nil
	}
	paths, err := parquet.Write(ctx, dir, parquet.Source{
		Report: report.Redacted().Pseudonymised(a.Names), Changes: changes,
		Files: outfile.Files{}.OnlyIf(func() error { return cmp.Or(report.Intact(), db.Intact(ctx, read...)) }),
	})
	if err == nil && !a.quiet {
		fmt.Fprintf(a.env.stdout, "%s below %s\n", plural(len(paths), "file"), engine.SafeText(dir))
	}
	return err
}
