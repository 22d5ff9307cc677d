package main

import (
	"fmt"
	"strings"

	"patrol/engine"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// envPrefix begins the environment variable of every flag.
const envPrefix = "PATROL_"

// envName is the environment variable of a flag.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// flag is the environment variable of a flag. An empty one counts as not set:
// CI systems leave variables empty that have no value.
func (e *env) flag(name string) (string, bool) {
	text, set := e.lookup(envName(name))
	return text, set && text != ""
}

// layer fills each flag that the command line does not set from the
// environment, else from the configuration file, and notes where the value
// came from.
func (a *app) layer(cmd *cobra.Command) error {
	var failed error
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if failed == nil && flag.Name != "config" && flag.Name != "help" {
			failed = a.layerFlag(flag)
		}
	})
	return failed
}

func (a *app) layerFlag(flag *pflag.Flag) error {
	if flag.Changed {
		a.origins[flag.Name] = "flag --" + flag.Name
		return nil
	}
	if text, set := a.env.flag(flag.Name); set && !forReports(flag, text) {
		a.origins[flag.Name] = "environment " + envName(flag.Name)
		return setFlag(flag, listed(flag, text), "environment variable", envName(flag.Name))
	}
	if value, set := a.config.flags[flag.Name]; set && !forReports(flag, value.text()) && !hasOwnPlace(flag) {
		a.origins[flag.Name] = a.config.place(value.line)
		return setFlag(flag, value.items, "configuration", a.config.place(value.line))
	}
	a.origins[flag.Name] = "default"
	return nil
}

// ownPlace keeps a flag that says where or what a command writes from taking its
// value from the configuration: there, a flag of this name says where reports
// go, and a plan, a list or a table would be written over or among them.
func ownPlace(flags *pflag.FlagSet, name string) {
	flags.Lookup(name).Annotations = map[string][]string{annotationOwn: {}}
}

const annotationOwn = "own"

func hasOwnPlace(flag *pflag.Flag) bool {
	_, own := flag.Annotations[annotationOwn]
	return own
}

func forReports(flag *pflag.Flag, text string) bool {
	c, one := flag.Value.(*choice)
	return one && c.forReports(text)
}

// listed is the text of a variable as a flag's arguments. One of a flag that is
// repeated on a command line holds all of them, with commas between.
func listed(flag *pflag.Flag, text string) []string {
	if !repeated(flag) {
		return []string{text}
	}
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// repeated reports whether each use of a flag adds an argument that is taken as
// it stands, commas and all.
func repeated(flag *pflag.Flag) bool { return flag.Value.Type() == "stringArray" }

// setFlag sets without marking the flag as changed, so that commands can still
// tell what the user typed.
func setFlag(flag *pflag.Flag, items []string, source, place string) error {
	if err := setItems(flag, items); err != nil {
		return &engine.Error{Class: engine.ClassUsage, Reason: "config", Op: "read " + source, Target: place,
			Hint: "Correct the value; the flag is described by `patrol help`.",
			Err:  fmt.Errorf("%s: %w", flag.Name, err)}
	}
	return nil
}

func setItems(flag *pflag.Flag, items []string) error {
	list, takesMany := flag.Value.(pflag.SliceValue)
	switch {
	case takesMany && (len(items) != 1 || repeated(flag)):
		return list.Replace(items)
	case len(items) > 1:
		return fmt.Errorf("takes one value, not %d", len(items))
	}
	return flag.Value.Set(strings.Join(items, ""))
}

// allFlags returns the names of the flags of a command and all below it.
func allFlags(root *cobra.Command) map[string]bool {
	names := map[string]bool{}
	add := func(flag *pflag.Flag) { names[flag.Name] = true }
	root.PersistentFlags().VisitAll(add)
	root.Flags().VisitAll(add)
	for _, child := range root.Commands() {
		for name := range allFlags(child) {
			names[name] = true
		}
	}
	return names
}
