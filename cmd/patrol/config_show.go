package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"patrol/engine"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Config shows the configuration in force.
func (c commands) Config() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the configuration",
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	show := &cobra.Command{
		Use:   "show",
		Short: "Show each value in force and where it comes from",
		Long: "Shows the value of each flag, for every command that has it, and where it comes from: a flag of this command line, an\n" +
			"environment variable, a line of the configuration file, or the default. Then the workspaces, the account and the policies\n" +
			"that the configuration names.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.showConfig(cmd) },
	}
	cmd.AddCommand(show)
	return cmd
}

func (a *app) showConfig(cmd *cobra.Command) error {
	if _, err := a.loadPolicies(cmd.Context(), &judgeOptions{}); err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tVALUE\tORIGIN")
	fmt.Fprintf(w, "config\t%s\t%s\n", a.configPath, a.configOrigin(cmd))
	values, err := a.everyFlag(cmd)
	if err != nil {
		return err
	}
	for _, name := range engine.SortedKeys(values) {
		printFlag(w, name, values[name])
	}
	for i, workspace := range a.config.workspaces {
		fmt.Fprintf(w, "workspaces[%d]\t%s\t%s\n", i, engine.SafeText(workspace.String()), a.config.place(workspace.line))
	}
	a.showAccount(w)
	a.showTunings(w, "policies", a.config.policies)
	for i, override := range a.config.overrides {
		fmt.Fprintf(w, "overrides[%d].match\t%s\t%s\n", i, override.match, a.config.place(override.line))
		a.showTunings(w, fmt.Sprintf("overrides[%d].policies", i), override.policies)
	}
	a.showRemediation(w)
	return w.Flush()
}

// showAccount lists what the file says of the account; what it leaves out has
// no value, and the credential is not among it.
func (a *app) showAccount(w io.Writer) {
	if a.config.account == nil {
		return
	}
	for _, leaf := range a.config.account.values {
		fmt.Fprintf(w, "%s\t%s\t%s\n", engine.SafeText(leaf.key), engine.SafeText(leaf.text), a.config.place(leaf.line))
	}
}

func (a *app) configOrigin(cmd *cobra.Command) string {
	switch {
	case a.config.path == "":
		return "default (no such file)"
	case cmd.Flags().Changed("config"):
		return "flag --config"
	}
	if _, set := a.env.flag("config"); set {
		return "environment " + envName("config")
	}
	return "default"
}

// flagValue is a value that a flag has, where it comes from, and the commands
// that have it so: a default may differ from command to command.
type flagValue struct {
	text, origin string
	commands     []string
}

func addValue(values []flagValue, text, origin, command string) []flagValue {
	for i, v := range values {
		if v.text == text && v.origin == origin {
			values[i].commands = append(v.commands, command)
			return values
		}
	}
	return append(values, flagValue{text, origin, []string{command}})
}

// printFlag writes the value of a flag, and below it those that other commands
// have for it.
func printFlag(w io.Writer, name string, values []flagValue) {
	for i, v := range values {
		key := name
		if i > 0 {
			key += " of " + strings.Join(v.commands, ", ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", key, engine.SafeText(v.text), v.origin)
	}
}

// everyFlag layers the flags of all commands. A name that several commands
// share stands for all of them.
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
	if err := a.layer(command); err != nil {
		return err
	}
	name := strings.TrimPrefix(command.CommandPath(), command.Root().Name()+" ")
	command.Flags().VisitAll(func(flag *pflag.Flag) {
		if !slices.Contains([]string{"help", "config", "version"}, flag.Name) {
			text := strings.Trim(flag.Value.String(), "[]")
			values[flag.Name] = addValue(values[flag.Name], text, a.origins[flag.Name], name)
		}
	})
	return nil
}

func (w workspaceConfig) String() string {
	text := fmt.Sprintf("name=%s profile=%s host=%s", w.Name, w.Profile, w.Host)
	for _, label := range engine.SortedKeys(w.Labels) {
		text += fmt.Sprintf(" %s=%s", label, w.Labels[label])
	}
	return text
}

func (a *app) showTunings(w *tabwriter.Writer, prefix string, tunings map[string]tuningConfig) {
	for _, id := range engine.SortedKeys(tunings) {
		t := tunings[id]
		if t.enabled != nil {
			fmt.Fprintf(w, "%s.%s.enabled\t%v\t%s\n", prefix, id, *t.enabled, a.config.place(t.enabledLine))
		}
		if t.severity != "" {
			fmt.Fprintf(w, "%s.%s.severity\t%s\t%s\n", prefix, id, t.severity, a.config.place(t.severityLine))
		}
		for _, name := range engine.SortedKeys(t.params) {
			fmt.Fprintf(w, "%s.%s.params.%s\t%s\t%s\n", prefix, id, name, engine.SafeText(jsonText(t.params[name])), a.config.place(t.lines[name]))
		}
	}
}
