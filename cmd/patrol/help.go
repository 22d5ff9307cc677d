package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"patrol/cmd/internal/pipeline"
	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/store"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is for how many columns help is written: those of the narrowest
// terminal in use, so that the generated pages and the help are one text.
const helpWidth = 80

// explainUsage gives all commands help that fits a terminal, and errors about
// arguments that say what is wanted.
func explainUsage(root *cobra.Command) {
	root.SetUsageFunc(func(cmd *cobra.Command) error { return printUsage(cmd.OutOrStderr(), cmd) })
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		w := cmd.OutOrStdout()
		fmt.Fprintf(w, "%s\n\n", wrapText(strings.TrimSpace(cmp.Or(cmd.Long, cmd.Short)), helpWidth))
		if cmd.Runnable() || cmd.HasAvailableSubCommands() {
			_ = printUsage(w, cmd) // a broken pipe is remembered by the writer
		}
	})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	everyCommand(root, func(cmd *cobra.Command) {
		switch cmd.Name() {
		case "help":
			cmd.Run, cmd.RunE = nil, func(help *cobra.Command, args []string) error {
				cmd, rest, err := root.Find(args)
				if err != nil || len(rest) > 0 {
					return unknownCommand(root, args)
				}
				cmd.InitDefaultHelpFlag()
				return cmd.Help()
			}
			standAlone(cmd)
		case "completion":
			cmd.Args, cmd.RunE = unknownCommand, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			standAlone(cmd)
		case "version":
			standAlone(cmd)
		}
		cmd.Args = explainArgs(cmd.Args)
	})
}

// ExitCodes is the help topic that lists all exit codes.
func (commands) ExitCodes() *cobra.Command {
	var b strings.Builder
	b.WriteString("A script can rely on these exit codes:\n\n")
	for _, row := range exitTable() {
		fmt.Fprintf(&b, "  %3d  %s\n", row.code, row.meaning)
	}
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean (patrol help exit-codes)", Long: b.String()}
}

// UsageQueries is the help topic with the queries of the audit log, to be run in
// a SQL editor where --usage may not run them.
func (c commands) UsageQueries() *cobra.Command {
	cmd := &cobra.Command{Use: "usage-queries", Short: "The SQL that --usage runs, for --audit-log and --audit-changes (patrol help usage-queries)"}
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		fmt.Fprintln(cmd.OutOrStdout(), "Run a query in a SQL editor and export the rows as CSV or JSON: the first for --audit-log, the second for --audit-changes.")
		for _, query := range collectors.Queries() {
			fmt.Fprintf(cmd.OutOrStdout(), "\n-- %s\n%s", query.Name, query.SQL)
		}
	})
	return cmd
}

// exitHelp names the exit codes that a command has beside those of all: 0, 3, 7
// and those of an interruption.
func exitHelp(codes ...int) string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, row := range exitTable() {
		if row.code == exitOK || row.code == exitUsage || row.code == exitStorage || slices.Contains(codes, row.code) {
			if row.code == exitOK && !slices.Contains(codes, exitViolations) {
				row.meaning = "done"
			}
			fmt.Fprintf(&b, "  %3d  %s\n", row.code, row.meaning)
		}
	}
	return b.String() + "All of them: `patrol help exit-codes`."
}

// standAlone lets a command run whatever the configuration holds: who cannot
// read the help because of a typing error cannot correct it either.
func standAlone(cmd *cobra.Command) {
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error { return nil }
}

func everyCommand(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, child := range cmd.Commands() {
		everyCommand(child, visit)
	}
}

// explainArgs makes of a complaint about arguments a sentence with those wanted.
func explainArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	if check == nil {
		return nil
	}
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if _, explained := engine.AsError(err); err == nil || explained {
			return err
		}
		_, wanted, takes := strings.Cut(cmd.Use, " ")
		switch {
		case !takes:
			err = fmt.Errorf("it takes none, got %q", args[0])
		case len(args) == 0:
			err = fmt.Errorf("%s is missing", wanted)
		default:
			err = fmt.Errorf("want %s, got %s", wanted, plural(len(args), "argument"))
		}
		return engine.UsageError("read arguments of", cmd.CommandPath(), "Usage: `"+cmd.UseLine()+"`; see `"+cmd.CommandPath()+" --help`.", err)
	}
}

func printUsage(w io.Writer, cmd *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if cmd.Runnable() {
		b.WriteString("  " + cmd.UseLine() + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("  " + cmd.CommandPath() + " [command]\n")
	}
	if cmd.HasExample() {
		b.WriteString("\nExamples:\n" + cmd.Example + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nAvailable Commands:\n")
		for _, child := range cmd.Commands() {
			if child.IsAvailableCommand() || child.Name() == "help" {
				fmt.Fprintln(&b, hang(fmt.Sprintf("  %-*s  ", child.NamePadding(), child.Name()), child.Short, helpWidth))
			}
		}
	}
	b.WriteString(flagUsages(cmd.LocalFlags()))
	if cmd.HasAvailableInheritedFlags() {
		b.WriteString("\nFlags of every command:\n" + flagList(cmd.InheritedFlags()))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nUse \"%s [command] --help\" for more information about a command.\n", cmd.CommandPath())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Groups of flags, in the order in which help shows them.
const (
	flagsSelection  = "What to look at"
	flagsConnection = "Where from, and how to get there"
	flagsJudging    = "How to judge"
	flagsOutput     = "What to write"
	flagsOther      = "Flags"
)

const groupAnnotation = "group"

// inGroup adds flags under a heading of the help.
func inGroup(flags *pflag.FlagSet, title string, add func(*pflag.FlagSet)) {
	group := pflag.NewFlagSet(title, pflag.ContinueOnError)
	add(group)
	group.VisitAll(func(flag *pflag.Flag) {
		if flag.Annotations[groupAnnotation] == nil {
			_ = group.SetAnnotation(flag.Name, groupAnnotation, []string{title}) // it exists
		}
	})
	flags.AddFlagSet(group)
}

// groupOf is the heading under which help shows a flag.
func groupOf(flag *pflag.Flag) string {
	if group := flag.Annotations[groupAnnotation]; len(group) > 0 {
		return group[0]
	}
	return flagsOther
}

// flagUsages lists flags, each group under its heading.
func flagUsages(flags *pflag.FlagSet) string {
	var b strings.Builder
	for _, title := range []string{flagsSelection, flagsConnection, flagsJudging, flagsOutput, flagsOther} {
		group := pflag.NewFlagSet(title, pflag.ContinueOnError)
		flags.VisitAll(func(flag *pflag.Flag) {
			if groupOf(flag) == title {
				group.AddFlag(flag)
			}
		})
		if group.HasAvailableFlags() {
			b.WriteString("\n" + title + ":\n" + flagList(group))
		}
	}
	return b.String()
}

// flagList is pflag's list of flags, without the [=true|false] that it adds to
// those that are on or off.
func flagList(flags *pflag.FlagSet) string {
	list := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.VisitAll(func(flag *pflag.Flag) {
		shown := *flag
		if flag.Value.Type() == "bool" {
			shown.Value = onOff{flag.Value}
		}
		list.AddFlag(&shown)
	})
	return list.FlagUsagesWrapped(helpWidth)
}

type onOff struct{ pflag.Value }

func (onOff) Type() string { return "boolfunc" }

// wrapText fits text to a width: lines that are not indented run on until an
// empty one, as paragraphs; others stay and hang under their text, which follows
// a label such as an exit code.
func wrapText(text string, width int) string {
	var out []string
	paragraph := ""
	end := func() {
		if paragraph != "" {
			out = append(out, hang("", paragraph, width))
		}
		paragraph = ""
	}
	for _, line := range strings.Split(text, "\n") {
		switch {
		case line == "":
			end()
			out = append(out, "")
		case strings.HasPrefix(line, " "):
			end()
			rest := strings.TrimLeft(line, " ")
			if label, after, found := strings.Cut(rest, "  "); found && len(label) < 30 {
				rest = after
			}
			out = append(out, hang(strings.TrimSuffix(line, rest), rest, width))
		default:
			paragraph = strings.TrimSpace(paragraph + " " + line)
		}
	}
	end()
	return strings.Join(out, "\n")
}

// hang writes text after a label and goes on below its beginning.
func hang(label, text string, width int) string {
	var b strings.Builder
	at := runewidth.StringWidth(label)
	indent := strings.Repeat(" ", at)
	b.WriteString(label)
	used := at
	for i, word := range strings.Fields(text) {
		n := runewidth.StringWidth(word)
		switch {
		case i == 0:
		case used+1+n > width:
			b.WriteString("\n" + indent)
			used = at
		default:
			b.WriteString(" ")
			used++
		}
		b.WriteString(word)
		used += n
	}
	return strings.TrimRight(b.String(), " ")
}

// completeValues offers values for flags and arguments in the shell. What a flag
// of a name takes is the same in every command, words of its own aside.
func (a *app) completeValues(root *cobra.Command) {
	values := map[string]func(cmd *cobra.Command, args []string) []string{
		"profile": a.profileNames, "account": a.profileNames,
		"only": a.policyIDs, "exclude": a.policyIDs,
		"workspace": a.workspaceNames, "framework": a.frameworkNames, "control": a.frameworkNames,
		"snapshot": a.snapshotIDs, "evaluation": a.evaluationIDs, "step": a.stepIDs,
	}
	arguments := map[string]func(cmd *cobra.Command, args []string) []string{
		"policies show": a.policyIDs, "snapshots show": a.snapshotIDs, "snapshots verify": a.snapshotIDs, "snapshots diff": a.snapshotIDs,
		"evaluations show": a.evaluationIDs,
	}
	everyCommand(root, func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			complete, known := values[flag.Name]
			if flag.Name == "policy" && flag.Value.Type() == "stringSlice" { // elsewhere it names directories
				complete, known = a.policyIDs, true
			}
			if words := flag.Annotations[wordsAnnotation]; words != nil {
				complete, known = func(*cobra.Command, []string) []string { return words }, true
			}
			if known {
				_, many := flag.Value.(pflag.SliceValue)
				_ = cmd.RegisterFlagCompletionFunc(flag.Name, func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
					return completions(complete(cmd, args), text, many), cobra.ShellCompDirectiveNoFileComp
				}) // fails where a command shares the flag: that one registered it
			}
		})
		if complete, known := arguments[strings.TrimPrefix(cmd.CommandPath(), root.Name()+" ")]; known {
			cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
				return completions(complete(cmd, args), text, false), cobra.ShellCompDirectiveNoFileComp
			}
		}
	})
}

// completions are the values that begin as the text does; of a list, as what
// follows its last comma. A description follows after a tab.
func completions(values []string, text string, many bool) []string {
	before := ""
	if i := strings.LastIndexByte(text, ','); many && i >= 0 {
		before, text = text[:i+1], text[i+1:]
	}
	var fit []string
	for _, value := range values {
		if strings.HasPrefix(strings.ToLower(value), strings.ToLower(text)) {
			name, about, described := strings.Cut(value, "\t")
			value = before + engine.SafeText(name)
			if described {
				value += "\t" + engine.SafeText(about)
			}
			fit = append(fit, value)
		}
	}
	return fit
}

const wordsAnnotation = "words"

// ofWords notes the words of which a flag takes some, for the shell.
func ofWords(flags *pflag.FlagSet, name string, words ...string) {
	_ = flags.SetAnnotation(name, wordsAnnotation, words) // it exists
}

// profileNames are those of .databrickscfg.
func (a *app) profileNames(*cobra.Command, []string) (names []string) {
	path, set := a.env.lookup("DATABRICKS_CONFIG_FILE")
	if !set {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil
		}
		path = filepath.Join(home, ".databrickscfg")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			names = append(names, strings.Trim(line, "[]"))
		}
	}
	return names
}

func (a *app) policyIDs(cmd *cobra.Command, _ []string) (ids []string) {
	for _, p := range a.completedPolicies(cmd) {
		ids = append(ids, p.ID+"\t"+p.Title)
	}
	return ids
}

func (a *app) frameworkNames(cmd *cobra.Command, _ []string) []string {
	names := map[string]bool{}
	for _, p := range a.completedPolicies(cmd) {
		for framework, controls := range p.Controls {
			names[framework] = true
			for _, control := range controls {
				names[framework+":"+control] = true
			}
		}
	}
	return engine.SortedKeys(names)
}

func (a *app) completedPolicies(cmd *cobra.Command) []engine.Policy {
	var o pipeline.Judging
	if packs, err := cmd.Flags().GetStringArray("policy"); err == nil {
		o.Packs = packs
	}
	set, err := a.loadPolicies(cmd.Context(), &o)
	if err != nil {
		return nil
	}
	return set.Every()
}

// stored asks the database, if it can be read.
func stored[T any](a *app, cmd *cobra.Command, list func(*store.DB) ([]T, error), text func(T) string) (values []string) {
	if a.Config.Set(cmd.Flags(), a.env.environment(), a.origins) != nil {
		return nil
	}
	_ = a.WithStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error {
		rows, err := list(db)
		for _, row := range rows {
			values = append(values, text(row))
		}
		return err
	})
	return values
}

func (a *app) snapshotIDs(cmd *cobra.Command, _ []string) []string {
	ids := stored(a, cmd, func(db *store.DB) ([]engine.Snapshot, error) { return db.Snapshots(cmd.Context()) }, func(s engine.Snapshot) string {
		return fmt.Sprintf("%d\t%s %s", s.ID, s.Workspace.Name, s.CollectedAt.UTC().Format(time.RFC3339))
	})
	return append([]string{"latest", "latest~1"}, ids...)
}

func (a *app) workspaceNames(cmd *cobra.Command, _ []string) []string {
	names := map[string]bool{}
	for _, w := range a.Config.Workspaces {
		names[w.Name] = w.Name != ""
	}
	for _, name := range stored(a, cmd, func(db *store.DB) ([]engine.Snapshot, error) { return db.Latest(cmd.Context()) },
		func(s engine.Snapshot) string { return s.Workspace.Name }) {
		names[name] = true
	}
	return engine.SortedKeys(names)
}

func (a *app) evaluationIDs(cmd *cobra.Command, _ []string) []string {
	return stored(a, cmd, func(db *store.DB) ([]store.EvaluationSummary, error) { return db.Evaluations(cmd.Context()) }, func(e store.EvaluationSummary) string {
		return fmt.Sprintf("%d\tas of %s", e.ID, e.AsOf.Format(time.RFC3339))
	})
}

func (a *app) stepIDs(_ *cobra.Command, args []string) (ids []string) {
	if len(args) == 0 {
		return nil
	}
	p, _, err := readPlan(args[0])
	if err != nil {
		return nil
	}
	for _, s := range p.Steps {
		ids = append(ids, fmt.Sprintf("%s\t%s %s of %s", s.ID, s.Action, targetOf(s.Target), s.Owner))
	}
	return ids
}
