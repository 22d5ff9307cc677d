package config

import (
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/engine/strictyaml"

	"github.com/spf13/pflag"
)

// prefix begins the environment variable of every flag.
const prefix = "PATROL_"

// Flags are the flags of all commands, by name; true for those that confirm
// something and stand on a command line or nowhere.
type Flags map[string]bool

// Add adds the flags of a set.
func (f Flags) Add(set *pflag.FlagSet) {
	set.VisitAll(func(flag *pflag.Flag) { f[flag.Name] = Confirming(flag) })
}

// confirmations are the flags by which a person confirms one run of a command:
// set for good, they would confirm what nobody looked at.
var confirmations = []string{
	"accept-empty", "accept-shrink", "again", "all", "expect-digest", "force", "include-self", "new-journal", "resume", "step", "withdraw", "yes",
}

const ownPlace = "own-place"

// OwnPlace keeps a flag that says where or what a command writes from taking its
// value from the file: there, a flag of this name says where reports go, and a
// plan, a list or a table would be written over or among them.
func OwnPlace(set *pflag.FlagSet, name string) {
	if err := set.SetAnnotation(name, ownPlace, nil); err != nil {
		panic(err) // a flag that was not defined
	}
}

const commandLine = "command-line"

// CommandLineOnly keeps a flag from taking its value from anywhere but the
// command line: elsewhere, a flag of this name means something else.
func CommandLineOnly(set *pflag.FlagSet, name string) {
	if err := set.SetAnnotation(name, commandLine, nil); err != nil {
		panic(err) // a flag that was not defined
	}
}

// Confirming reports whether a flag confirms one run.
func Confirming(flag *pflag.Flag) bool { return slices.Contains(confirmations, flag.Name) }

func confirmation(flag string) string {
	return "--" + flag + " confirms one run: give it on that command line"
}

// Variable is the environment variable of a flag.
func Variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Environment is the environment of a run.
type Environment struct {
	Lookup func(string) (string, bool)
	All    func() []string // KEY=value
}

// Flag is the variable of a flag. An empty one counts as not set: CI systems
// leave variables empty that have no value.
func (e Environment) Flag(name string) (string, bool) {
	text, set := e.Lookup(Variable(name))
	return text, set && text != ""
}

// Check refuses variables of no flag, and those of flags that confirm one run.
func (e Environment) Check(flags Flags) error {
	known := map[string]string{PasswordVariable: ""} // variable → flag
	for name := range flags {
		known[Variable(name)] = name
	}
	for _, pair := range slices.Sorted(slices.Values(e.All())) {
		variable, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(variable, prefix) || value == "" {
			continue
		}
		flag, is := known[variable]
		switch {
		case !is:
			return wrongVariable(variable, fmt.Errorf("no flag has this variable: %s", engine.DidYouMean(variable, engine.SortedKeys(known))))
		case flags[flag]:
			return wrongVariable(variable, fmt.Errorf("%s", confirmation(flag)))
		}
	}
	return nil
}

func wrongVariable(variable string, err error) error {
	return &engine.Error{Class: engine.ClassUsage, Reason: "config", Op: "read environment variable", Target: variable,
		Hint: "Unset it, or correct its name; each flag has a variable, such as PATROL_FAIL_ON for --fail-on.", Err: err}
}

// Negative refuses a number or a length of time below zero, whoever set it.
func Negative(set *pflag.FlagSet) (failed error) {
	set.VisitAll(func(flag *pflag.Flag) {
		kind := flag.Value.Type()
		if failed == nil && strings.HasPrefix(flag.Value.String(), "-") && (strings.HasPrefix(kind, "int") || strings.HasPrefix(kind, "float") || kind == "duration") {
			failed = engine.UsageError("read flag", "--"+flag.Name, "Give 0 or more.", fmt.Errorf("%s is less than 0", flag.Value))
		}
	})
	return failed
}

// sharer is a flag that may leave a value of the environment or the file to
// another flag of its name.
type sharer interface{ Leaves(text string) bool }

// Set fills each flag that the command line does not set from the environment,
// else from the file, and notes in origins where the value came from.
func (f *File) Set(set *pflag.FlagSet, e Environment, origins map[string]string) (failed error) {
	set.VisitAll(func(flag *pflag.Flag) {
		if failed == nil && flag.Name != "config" && flag.Name != "help" {
			failed = f.set(flag, e, origins)
		}
	})
	return failed
}

func (f *File) set(flag *pflag.Flag, e Environment, origins map[string]string) error {
	leaves := func(text string) bool {
		s, may := flag.Value.(sharer)
		return may && s.Leaves(text)
	}
	if flag.Changed {
		origins[flag.Name] = "flag --" + flag.Name
		return nil
	}
	if _, only := flag.Annotations[commandLine]; only {
		origins[flag.Name] = "default"
		return nil
	}
	if text, set := e.Flag(flag.Name); set && !leaves(text) {
		origins[flag.Name] = "environment " + Variable(flag.Name)
		items := []string{text}
		if repeated(flag) { // one variable holds what a command line repeats, with commas between
			items = split(text)
		}
		return fill(flag, items, "environment variable", Variable(flag.Name))
	}
	_, own := flag.Annotations[ownPlace]
	if items, set := f.Flags[flag.Name]; set && !leaves(strings.Join(items, ",")) && !own {
		origins[flag.Name] = f.Place(flag.Name)
		return fill(flag, items, "configuration", f.Place(flag.Name))
	}
	origins[flag.Name] = "default"
	return nil
}

// repeated reports whether each use of a flag adds an argument that is taken as
// it stands, commas and all.
func repeated(flag *pflag.Flag) bool { return flag.Value.Type() == "stringArray" }

// split takes a list with commas apart.
func split(text string) []string {
	if text == "" {
		return []string{}
	}
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// Decimal is a flag's number as people read it, from the command line, the
// configuration or the environment: pflag takes 010 for 8.
type Decimal struct{ pflag.Value }

// Set refuses a number that begins with 0.
func (d Decimal) Set(text string) error {
	if strictyaml.LeadingZero(text) {
		return fmt.Errorf("%q begins with 0: is it octal? leave the 0 out", text)
	}
	return d.Value.Set(text)
}

// fill sets without marking the flag as changed, so that commands can still tell
// what the user typed.
func fill(flag *pflag.Flag, items []string, source, place string) error {
	list, takesMany := flag.Value.(pflag.SliceValue)
	var err error
	switch {
	case takesMany && len(items) == 1 && !repeated(flag):
		err = list.Replace(split(items[0]))
	case takesMany:
		err = list.Replace(items)
	case len(items) > 1:
		err = fmt.Errorf("takes one value, not %d", len(items))
	default:
		err = flag.Value.Set(strings.Join(items, ""))
	}
	if err != nil {
		return &engine.Error{Class: engine.ClassUsage, Reason: "config", Op: "read " + source, Target: place,
			Hint: "Correct the value; the flag is described by `patrol help`.", Err: fmt.Errorf("%s: %w", flag.Name, err)}
	}
	return nil
}
