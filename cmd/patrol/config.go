package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"patrol/cmd/internal/config"
	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/exceptions"
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
