package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"

	"patrol/cmd/internal/config"
	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/store"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// app is what all commands share in one run.
type app struct {
	pipeline.Run
	env     *env
	origins map[string]string // flag → where its value came from

	configPath string
	quiet      bool
	verbose    bool
	noColor    bool
	logFormat  string
	namesKey   string
}

func newApp(e *env) *app {
	a := &app{env: e, origins: map[string]string{}}
	a.Run = pipeline.Run{
		Config: config.Default(), Version: e.version, Now: e.now, Lookup: e.lookup, Stdin: e.stdin,
		Log: pipeline.Log{Say: a.say, Alert: func(line string) { a.logLine(e.stderr, line) }, Collecting: a.progress, Stage: a.stage},
	}
	return a
}

// commands is the set of commands: each file adds the method that builds its own.
type commands struct{ app *app }

// run executes patrol with arguments and returns its exit code.
func run(ctx context.Context, e *env, args []string) int { return exitCode(execute(ctx, e, args)) }

// execute is run for those who need the error, which has been printed.
func execute(ctx context.Context, e *env, args []string) error {
	product := &product{w: e.stdout}
	e.stdout = product
	a := newApp(e)
	root := a.root()
	a.logFormat = firstLogFormat(e, args)
	root.SetArgs(args)
	err := causeOf(ctx, root.ExecuteContext(ctx))
	if err == nil {
		err = product.err
	}
	if told := unreported(err); told != nil {
		printError(e.stderr, told, a.logFormat == jsonFormat)
	}
	return err
}

// firstLogFormat is the log format as far as it can be known before flags and
// configuration were read: errors in those are printed in it, too.
func firstLogFormat(e *env, args []string) string {
	format := "text"
	if text, set := e.environment().Flag("log-format"); set {
		format = text
	}
	for i, arg := range args {
		text, set := strings.CutPrefix(arg, "--log-format=")
		switch {
		case arg == "--":
			return format
		case set:
			format = text
		case arg == "--log-format" && i+1 < len(args):
			format = args[i+1]
		}
	}
	return format
}

// unreported is what is still to be printed of an error. Violations stand in the
// report that was printed; that it is incomplete is printed as an error, too.
func unreported(err error) error {
	var reached verdictError
	if !errors.As(err, &reached) {
		return err
	}
	if reached.verdict != engine.Incomplete {
		return nil
	}
	return &engine.Error{Class: engine.ClassIncomplete, Reason: string(engine.Incomplete),
		Hint: "The report names what is missing; `patrol doctor` tells what to do about it.",
		Err:  errors.New("something could not be read or judged")}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "patrol",
		Short: "Audit Databricks personal access tokens against policy",
		Long: "patrol reads every personal access token of your Databricks workspaces and the settings that govern them,\n" +
			"judges them by policies written in Rego, and reports what breaks policy and what to do about it. `patrol help exit-codes` lists the exit codes.",
		Example:       "  patrol demo                          # the whole story on a simulated account\n  patrol audit --profile prod          # audit one workspace of ~/.databrickscfg\n  patrol audit --from tokens.json      # audit a list of the Databricks CLI",
		Version:       a.env.version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(a.env.stdout)
	root.SetErr(a.env.stderr)
	root.SetIn(a.env.stdin)
	a.addFlags(root)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return a.prepare(root, cmd) }
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(engine.Plugins[*cobra.Command](commands{a})...)
	explainUsage(root)
	a.completeValues(root)
	everyCommand(root, func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			if kind := flag.Value.Type(); strings.HasPrefix(kind, "int") || strings.HasPrefix(kind, "uint") || kind == "float64" {
				flag.Value = config.Decimal{Value: flag.Value}
			}
		})
	})
	return root
}

func (a *app) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&a.configPath, "config", "patrol.yaml", "configuration `file`; a missing default is no error")
	flags.StringVar(&a.DBPath, "db", "patrol.db", "database `file` of snapshots and results")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "say nothing but errors")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "say more: sections, retries")
	flags.BoolVar(&a.noColor, "no-color", false, "no colours, also on a terminal")
	flags.StringVar(&a.namesKey, "pseudonymise", "", "show pseudonyms for the names of people, keyed with this `file`")
	flags.StringVar(&a.logFormat, "log-format", "text", "`format` of the messages on stderr: text or json")
	ofWords(flags, "log-format", "text", jsonFormat)
}

// prepare reads the configuration and completes the flags before any command runs.
func (a *app) prepare(root, cmd *cobra.Command) error {
	required := cmd.Flags().Changed("config")
	environment := a.env.environment()
	if path, set := environment.Flag("config"); set && !required {
		a.configPath, required = path, true
	}
	known := knownFlags(root)
	if err := environment.Check(known); err != nil {
		return err
	}
	loaded, err := config.Load(a.configPath, required, known)
	if err != nil {
		return err
	}
	a.Config = loaded
	if err := a.Config.Set(cmd.Flags(), environment, a.origins); err != nil {
		return err
	}
	if err := config.Negative(cmd.Flags()); err != nil {
		return err
	}
	if a.logFormat != "text" && a.logFormat != jsonFormat {
		return engine.UsageError("read flag", "--log-format", "Use text or json.", fmt.Errorf("unknown format %q", a.logFormat))
	}
	if a.namesKey == "" {
		return nil
	}
	// Whatever this run says, lists or writes goes through engine.Pseudonymised, or
	// through Report.Pseudonymised.
	key, err := os.ReadFile(a.namesKey)
	if err == nil {
		a.Names, err = engine.NewPseudonyms(key)
	}
	if err != nil {
		return engine.UsageError("read key", a.namesKey, "Make a key once, and keep it secret: (umask 077; head -c 32 /dev/urandom > names.key)", err)
	}
	return nil
}

// knownFlags are those of all commands.
func knownFlags(root *cobra.Command) config.Flags {
	known := config.Flags{}
	everyCommand(root, func(command *cobra.Command) {
		known.Add(command.Flags())
		known.Add(command.PersistentFlags())
	})
	return known
}

// commandGroup is a command that only groups others.
func commandGroup(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: unknownCommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(children...)
	return cmd
}

// unknownCommand refuses what follows a command that only groups others.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "See `" + cmd.CommandPath() + " --help`."
	cmd.SuggestionsMinimumDistance = 2
	if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
		hint = "Did you mean `" + cmd.CommandPath() + " " + names[0] + "`?"
	}
	return engine.UsageError("run", cmd.CommandPath(), hint, fmt.Errorf("unknown command %q", args[0]))
}

// flagError explains a flag that cannot be read.
func flagError(cmd *cobra.Command, err error) error {
	hint := "See `" + cmd.CommandPath() + " --help`."
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		cmd.Flags().VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
		if near := engine.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			hint = "Did you mean --" + near + "?"
		}
	}
	return engine.UsageError("read flags of", cmd.CommandPath(), hint, err)
}

// reading is what a command does with the database as it was at one moment.
func (a *app) reading(work func(ctx context.Context, db *store.DB, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return a.WithStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error { return work(cmd.Context(), db, args) })
	}
}

// withPolicies is what a command does with the policies that its flags choose.
func (a *app) withPolicies(o *pipeline.Judging, work func(ctx context.Context, set *pipeline.Policies, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		set, err := a.loadPolicies(cmd.Context(), o)
		if err != nil {
			return err
		}
		return work(cmd.Context(), set, args)
	}
}

// say writes a message on stderr, unless --quiet is given.
func (a *app) say(format string, args ...any) {
	if a.quiet {
		return
	}
	a.logLine(a.env.stderr, engine.Pseudonymised(a.Names, fmt.Sprintf(format, args...)))
}

// sayGap says what was not read and why, on lines of its own below those of
// its workspace, or with its name; as JSON each part has a field.
func (a *app) sayGap(where string, gap engine.Gap, hint string, named bool) {
	c := engine.Pseudonymised(a.Names, gap.Coverage)
	if a.logFormat == jsonFormat && !a.quiet {
		jsonLogger(a.env.stderr).Warn(fmt.Sprintf("%s: %s: %s", where, gap.Names(), c.Status), "workspace", where, "sections", gap.Sections,
			"status", c.Status, "reason", c.Reason, "detail", c.Detail, "hint", c.Hint)
		return
	}
	line := fmt.Sprintf("%s: %s (%s) %s", gap.Names(), c.Status, c.Reason, c.Detail)
	if named {
		line = where + ": " + line
	}
	a.say("  %s", line)
	if hint != "" {
		a.say("  hint: %s", hint)
	}
}

// detail is say for those who asked for more.
func (a *app) detail(format string, args ...any) {
	if a.verbose {
		a.say(format, args...)
	}
}

// logLine writes a message, as text or as a JSON record.
func (a *app) logLine(w io.Writer, line string) {
	if a.logFormat == jsonFormat {
		level := slog.LevelInfo
		if text, warns := strings.CutPrefix(line, "warning: "); warns {
			level, line = slog.LevelWarn, text
		}
		jsonLogger(w).Log(context.Background(), level, line)
		return
	}
	fmt.Fprintln(w, engine.SafeLines(line))
}

// jsonFormat is the log format of one JSON object a line.
const jsonFormat = "json"

func jsonLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(jsonLog{w}, nil)) }

// jsonLog is a log of JSON lines that do nothing on a terminal.
type jsonLog struct{ w io.Writer }

func (l jsonLog) Write(line []byte) (int, error) {
	if _, err := l.w.Write(engine.EscapeJSON(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// Version tells which patrol this is.
func (c commands) Version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(c.app.env.stdout, "patrol %s (%s, %s/%s)\n", c.app.env.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// Sandbox judges policies of others; patrol starts it by itself. It reads
// neither configuration nor environment.
func (c commands) Sandbox() *cobra.Command {
	cmd := &cobra.Command{
		Use:    pipeline.SandboxCommand,
		Short:  "Judge policies of others for another patrol",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return eval.ServeSandbox(cmd.Context(), c.app.env.stdin, c.app.env.stdout)
		},
	}
	standAlone(cmd)
	return cmd
}
