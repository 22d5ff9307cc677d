package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"patrol/cmd/internal/config"
	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/exceptions"
	"patrol/engine/outfile"
	"patrol/engine/strictyaml"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Config shows and checks the configuration in force.
func (c commands) Config() *cobra.Command {
	var all bool
	show := &cobra.Command{
		Use:   "show",
		Short: "Show each value that is set and where it comes from",
		Long: "Shows what is set, and where: by a flag of this command line, an environment variable, or a line of the configuration file.\n" +
			"With --all also each default, for every command that has the flag.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := c.app.loadPolicies(cmd.Context(), &pipeline.Judging{}); err != nil {
				return err
			}
			return c.app.showConfig(cmd, all)
		},
	}
	show.Flags().BoolVar(&all, "all", false, "show the defaults as well")
	validate := &cobra.Command{
		Use:   "validate [file]",
		Short: "Check the configuration: every key, value, policy and parameter",
		Long: "Reads patrol.yaml, or the file named, and everything that it names: policies, waivers, a baseline, signers. Nothing is\n" +
			"sent and nothing written. Ends with exit code 3, and each mistake with its line, when there are any.",
		Example: "  patrol config validate\n  patrol config validate ci/patrol.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.app.validateConfig(cmd, args) },
	}
	return commandGroup("config", "Show the configuration, and check it", show, validate)
}

// validateConfig checks the configuration of this run, or a file.
func (a *app) validateConfig(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		loaded, err := config.Load(args[0], true, knownFlags(cmd.Root()))
		if err != nil {
			return err
		}
		a.Config, a.configPath = loaded, args[0]
	}
	if err := a.checkConfigured(cmd); err != nil {
		return err
	}
	if a.Config.Path == "" {
		a.say("There is no %s: the defaults are in force.", a.configPath)
		return nil
	}
	a.say("%s: %s, no mistake", a.Config.Path, plural(len(a.Config.Values()), "value"))
	return nil
}

// checkConfigured reads all that the configuration names. What the file says of
// flags is tried on every command that has them.
func (a *app) checkConfigured(cmd *cobra.Command) error {
	if _, err := a.everyFlag(cmd); err != nil {
		return err
	}
	audit, _, err := cmd.Root().Find([]string{"audit"})
	if err != nil {
		return err
	}
	flags := audit.Flags()
	text := func(name string) string { return flags.Lookup(name).Value.String() }
	packs, err := flags.GetStringArray("policy")
	if err != nil {
		return err
	}
	o := pipeline.Judging{Packs: packs, PackKey: text("policy-key"), Exceptions: pipeline.ExceptionPaths{Waivers: text("waivers"), Baseline: text("baseline")}}
	if _, err := a.loadPolicies(cmd.Context(), &o); err != nil {
		return err
	}
	_, err = a.Config.Trust()
	return err
}

func (a *app) showConfig(cmd *cobra.Command, all bool) error {
	values, err := a.everyFlag(cmd)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tVALUE\tORIGIN")
	origin := "default"
	if _, set := a.env.environment().Flag("config"); set {
		origin = "environment " + config.Variable("config")
	}
	switch {
	case a.Config.Path == "":
		origin = "default (no such file)"
	case cmd.Flags().Changed("config"):
		origin = "flag --config"
	}
	fmt.Fprintf(w, "config\t%s\t%s\n", a.configPath, origin)
	for _, name := range engine.SortedKeys(values) {
		for i, v := range values[name] {
			key := name
			if i > 0 { // below it, those that other commands have for it
				key += " of " + strings.Join(v.commands, ", ")
			}
			if all || v.origin != "default" {
				fmt.Fprintf(w, "%s\t%s\t%s\n", key, engine.SafeText(v.text), v.origin)
			}
		}
	}
	for _, value := range a.Config.Values() {
		if _, isFlag := a.Config.Flags[value.Key]; !isFlag {
			fmt.Fprintf(w, "%s\t%s\t%s\n", engine.SafeText(value.Key), engine.SafeText(value.Text), a.Config.Place(value.Key))
		}
	}
	if all {
		for _, setting := range slices.Concat(strictyaml.Settings("remediation", a.Config.Remediation), strictyaml.Settings("approval", a.Config.Approval)) {
			if !a.Config.Given(setting.Key) {
				fmt.Fprintf(w, "%s\t%s\tdefault\n", setting.Key, setting.Text)
			}
		}
	}
	return w.Flush()
}

// flagValue is a value of a flag, where it comes from, and the commands in which
// the flag has it: a default may differ from command to command.
type flagValue struct {
	text, origin string
	commands     []string
}

// everyFlag fills the flags of all commands. A name that several commands share
// stands for all of them.
func (a *app) everyFlag(cmd *cobra.Command) (map[string][]flagValue, error) {
	values := map[string][]flagValue{}
	var failed error
	everyCommand(cmd.Root(), func(command *cobra.Command) {
		if failed == nil && command != cmd && configurable(command) {
			failed = a.addFlagsOf(command, values)
		}
	})
	return values, cmp.Or(failed, a.addFlagsOf(cmd, values)) // the flags of this command line last: they are set
}

// configurable reports whether a command has flags that somebody may set for good.
func configurable(command *cobra.Command) bool {
	return !command.Hidden && command.Name() != "completion" && (!command.HasParent() || command.Parent().Name() != "completion")
}

func (a *app) addFlagsOf(command *cobra.Command, values map[string][]flagValue) error {
	if err := a.Config.Set(command.Flags(), a.env.environment(), a.origins); err != nil {
		return err
	}
	name := strings.TrimPrefix(command.CommandPath(), command.Root().Name()+" ")
	command.Flags().VisitAll(func(flag *pflag.Flag) {
		if !slices.Contains([]string{"help", "config", "version"}, flag.Name) && !config.Confirming(flag) {
			text, origin := strings.Trim(flag.Value.String(), "[]"), a.origins[flag.Name]
			same := slices.IndexFunc(values[flag.Name], func(v flagValue) bool { return v.text == text && v.origin == origin })
			if same < 0 {
				values[flag.Name] = append(values[flag.Name], flagValue{text, origin, []string{name}})
			} else {
				values[flag.Name][same].commands = append(values[flag.Name][same].commands, name)
			}
		}
	})
	return nil
}

// Schema prints what editors need to know of the files that people write.
func (c commands) Schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema {config | waivers}",
		Short: "Print the JSON Schema of patrol.yaml or waivers.yaml, for editors",
		Long: "Prints the JSON Schema of patrol.yaml (config) or waivers.yaml (waivers). An editor that knows the YAML language server completes\n" +
			"and checks a file whose first line names it: # yaml-language-server: $schema=patrol.schema.json",
		Example:           "  patrol schema config >patrol.schema.json\n  patrol schema waivers >waivers.schema.json",
		Args:              cobra.ExactArgs(1),
		ValidArgs:         []string{"config", "waivers"},
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil }, // it helps to correct a file that is wrong
		RunE: func(cmd *cobra.Command, args []string) error {
			title, of, more := "patrol.yaml", any(config.File{}), flagSchemas(cmd.Root())
			switch args[0] {
			case "config":
			case "waivers":
				title, of, more = "waivers.yaml", exceptions.WaiverFile{}, nil
			default:
				return engine.UsageError("print schema", args[0], "Use config or waivers.", fmt.Errorf("there is no schema of this name"))
			}
			text, err := strictyaml.Schema(title, of, more)
			if err == nil {
				_, err = c.app.env.stdout.Write(text)
			}
			return err
		},
	}
}

// flagSchemas are the flags that may stand in patrol.yaml.
func flagSchemas(root *cobra.Command) map[string]any {
	schemas := map[string]any{}
	everyCommand(root, func(cmd *cobra.Command) {
		if !configurable(cmd) {
			return
		}
		for _, set := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
			set.VisitAll(func(flag *pflag.Flag) {
				if flag.Hidden || config.Confirming(flag) || slices.Contains([]string{"help", "config", "version"}, flag.Name) {
					return
				}
				_, text := pflag.UnquoteUsage(flag)
				scalar := []string{"string", "number", "boolean"}
				schema := map[string]any{"type": scalar, "description": text}
				if _, many := flag.Value.(pflag.SliceValue); many {
					schema["type"] = append(scalar, "array")
					schema["items"] = map[string]any{"type": scalar}
				}
				if schemas[flag.Name] == nil {
					schemas[flag.Name] = schema
				}
			})
		}
	})
	return schemas
}

type initOptions struct {
	profiles []string
	account  string
	failOn   engine.Threshold
	force    bool
}

// Init writes a first patrol.yaml.
func (c commands) Init() *cobra.Command {
	o := initOptions{failOn: engine.FailOn(engine.Low)}
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a first patrol.yaml: from profiles of .databrickscfg, or an account",
		Long: "Writes a commented patrol.yaml that `patrol config validate` accepts. On a terminal it asks for what no flag says. A file that\n" +
			"is there stays, unless --force is given.",
		Example: "  patrol init\n  patrol init --profile prod,dev --fail-on high\n  patrol init --account account ci/patrol.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			known, environment := knownFlags(cmd.Root()), c.app.env.environment()
			if err := environment.Check(known); err != nil {
				return err
			}
			if err := config.Default().Set(cmd.Flags(), environment, c.app.origins); err != nil {
				return err
			}
			switch { // the command line outranks the environment's other way to say it
			case cmd.Flags().Changed("account") && !cmd.Flags().Changed("profile"):
				o.profiles = nil
			case cmd.Flags().Changed("profile") && !cmd.Flags().Changed("account"):
				o.account = ""
			}
			return c.app.init(cmd.Context(), strings.Join(append(args, "patrol.yaml")[:1], ""), &o, known)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.profiles, "profile", nil, "audit the workspaces of these `profiles` of .databrickscfg")
	flags.StringVar(&o.account, "account", "", "audit all workspaces of the account of this `profile`")
	flags.Var(thresholdFlag(&o.failOn), "fail-on", "an audit exits with 1 on findings of this severity or worse")
	ofWords(flags, "fail-on", append(severityWords(), "none")...)
	flags.BoolVar(&o.force, "force", false, "replace the file where there is one")
	standAlone(cmd) // a file that cannot be read is what --force replaces
	return cmd
}

func (a *app) init(ctx context.Context, path string, o *initOptions, known config.Flags) error {
	if _, err := os.Lstat(path); err == nil && !o.force {
		return engine.UsageError("write", path, "Edit it and check it by `patrol config validate`, or replace it with --force.", errors.New("exists already"))
	}
	if len(o.profiles) > 0 && o.account != "" {
		return engine.UsageError("read flags", "--account and --profile", "Use one of them.", errors.New("cannot be combined"))
	}
	there := a.profileNames(nil, nil)
	if len(o.profiles) == 0 && o.account == "" {
		if !a.env.interactive() {
			return engine.UsageError("write", path, "Give --profile or --account; .databrickscfg has: "+engine.FewWords(there, 10)+".", errors.New("nothing says which workspaces to audit"))
		}
		fmt.Fprintf(a.env.stderr, "Profiles of .databrickscfg: %s\n", engine.SafeText(strings.Join(there, ", ")))
		answer, err := a.ask(ctx, "Which workspaces? Profiles with commas between, or account:PROFILE for all of an account: ")
		if err != nil {
			return err
		}
		if profile, all := strings.CutPrefix(answer, "account:"); all {
			o.account = strings.TrimSpace(profile)
		} else {
			for name := range strings.SplitSeq(answer, ",") {
				if name = strings.TrimSpace(name); name != "" {
					o.profiles = append(o.profiles, name)
				}
			}
		}
		if answer, err = a.ask(ctx, "Fail an audit from which severity on (critical, high, medium, low, none) [low]: "); err != nil {
			return err
		}
		if answer != "" {
			if o.failOn, err = engine.ParseThreshold(answer); err != nil {
				return engine.UsageError("read answer", answer, "Give a severity.", err)
			}
		}
	}
	for _, name := range slices.DeleteFunc(append(slices.Clone(o.profiles), o.account), func(name string) bool { return name == "" }) {
		if !slices.Contains(there, name) {
			return engine.UsageError("find profile", name, "Make it by `databricks auth login --profile NAME`, or name another.", fmt.Errorf(".databrickscfg has no such profile: %s", engine.DidYouMean(name, there)))
		}
	}
	if len(o.profiles) == 0 && o.account == "" {
		return engine.UsageError("write", path, "Name at least one profile.", errors.New("nothing says which workspaces to audit"))
	}
	quoted := func(text string) string { return string(engine.CompactJSON(text)) }
	var which strings.Builder
	if o.account != "" {
		fmt.Fprintf(&which, "# All workspaces of this account. Narrow them by names, ids, tags or status.\naccount:\n  profile: %s\n#  exclude: {names: [\"sandbox-*\"]}\n#  labels: {env: \"tag:env\"}\n", quoted(o.account))
	} else {
		which.WriteString("# Workspaces to read, each by a profile of .databrickscfg. Labels are yours to choose; overrides match them.\nworkspaces:\n")
		for _, name := range o.profiles {
			fmt.Fprintf(&which, "  - name: %s\n    profile: %s\n#    labels: {env: prod}\n", quoted(name), quoted(name))
		}
	}
	text := strings.NewReplacer("WORKSPACES", which.String(), "FAIL_ON", o.failOn.String()).Replace(firstConfig)
	if err := outfile.Write(path, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
		return err
	}
	if _, err := config.Load(path, true, known); err != nil {
		return err
	}
	a.say("%s written. Next: `patrol doctor`, then `patrol audit`.", path)
	return nil
}

// firstConfig is the file, with what may be wanted later behind a # without a space.
const firstConfig = `# yaml-language-server: $schema=patrol.schema.json
# What patrol reads without flags. Any flag can stand here under its name. A line that begins with # and no space is an example: take the # away.
# Check it by: patrol config validate. See what is in force by: patrol config show.
# For an editor: patrol schema config > patrol.schema.json

WORKSPACES
# An audit exits with 1 on findings of this severity or worse.
fail-on: FAIL_ON

# What it writes, and where; {date} in output-dir is the day.
format: [csv, xlsx, json, html]
output-dir: patrol-report
#keep: 90

# Policies: patrol policies list names them, patrol policies show ID their parameters.
#policies:
#  PAT-002: {params: {max_lifetime_days: 30}}
#  PAT-020: {severity: info}
#  WS-004: {enabled: false}

# Where something else is right.
#overrides:
#  - match: {labels: {env: dev}}
#    policies:
#      PAT-024: {enabled: false}

# What a plan may change at most.
#remediation:
#  grace: 7d
#  contact: platform@example.com
#  limits: {max_steps: 25, max_percent: 10, max_per_owner: 10}
`
