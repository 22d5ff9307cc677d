package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports/table"

	"github.com/spf13/pflag"
)

// choice is a flag that holds one of a few words.
type choice struct {
	word string
	of   []string
}

// oneOf is a choice of words, the first of which is the default.
func oneOf(words ...string) choice { return choice{word: words[0], of: words} }

func (c *choice) String() string { return c.word }

func (c *choice) Set(text string) error {
	if !slices.Contains(c.of, text) {
		return fmt.Errorf("unknown format %q: want one of %s", text, strings.Join(c.of, ", "))
	}
	c.word = text
	return nil
}

func (c *choice) Type() string { return "format" }

// Leaves reports whether a value of the environment or the configuration
// is meant for the reports, whose flag has the same name: formats of reports,
// of which this command has none. It then keeps its default.
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
	*format = oneOf(forms...)
	flags.Var(format, "format", "how to write it: "+strings.Join(forms, ", "))
	ofWords(flags, "format", forms...)
}

// listOptions say in which form a list is written.
type listOptions struct {
	format    choice
	workspace string
}

func (o *listOptions) addFlags(all *pflag.FlagSet) {
	inGroup(all, flagsOutput, func(flags *pflag.FlagSet) { addFormatFlag(flags, &o.format, "table", "csv", "json") })
}

func (o *listOptions) addWorkspace(all *pflag.FlagSet) {
	inGroup(all, flagsSelection, func(flags *pflag.FlagSet) {
		flags.StringVar(&o.workspace, "workspace", "", "workspace's name or id matches this `glob`")
	})
}

// wants reports whether a workspace is listed.
func (o *listOptions) wants(w engine.Workspace) bool {
	return matchesEither(o.workspace, w.Name, w.ID)
}

// matchesEither reports whether a glob matches a name or an id; an empty one does.
func matchesEither(glob, name, id string) bool {
	return engine.MatchGlob(glob, name) || engine.MatchGlob(glob, id)
}

// listFilter is what lists of tokens and of findings are filtered by alike, their
// order and their length.
type listFilter struct {
	workspace, owner, kind string
	labels, policies       []string
	sort                   string
	limit                  int
}

// addFlags adds the flags but --policy; columns are those to order by, column the
// default.
func (f *listFilter) addFlags(all *pflag.FlagSet, column string, columns []string) {
	inGroup(all, flagsSelection, func(flags *pflag.FlagSet) {
		flags.StringVar(&f.workspace, "workspace", "", "workspace's name or id matches this `glob`")
		flags.StringSliceVar(&f.labels, "label", nil, "workspace has these labels: `name=glob`")
		flags.StringVar(&f.owner, "owner", "", "owner's name or id matches this `glob`")
		flags.StringVar(&f.kind, "kind", "", "owner is a `kind`: user, service_principal, missing")
	})
	all.StringVar(&f.sort, "sort", column, "order by this `column`: "+strings.Join(columns, ", ")+"; -column for the other way round")
	all.IntVar(&f.limit, "limit", 0, "list the first so many (0: all)")
	ofWords(all, "kind", ownerKinds()...)
	ofWords(all, "sort", columns...)
}

// check refuses unknown kinds, and labels and limits that make no sense.
func (f *listFilter) check() error {
	return cmp.Or(checkWord("--kind", f.kind, ownerKinds()...), checkList(f.labels, f.limit))
}

// writeList writes rows to standard output.
func writeList[T any](ctx context.Context, a *app, format choice, columns []table.Column[T], rows []T) error {
	return table.Write(ctx, a.env.stdout, format.word, columns, table.Known(engine.Pseudonymised(a.Names, rows)), a.listOptions("-"))
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

// writeProduct writes to standard output or to a file that appears whole.
func (a *app) writeProduct(files outfile.Files, output string, fill func(io.Writer) error) error {
	if output == "-" {
		return files.Fill(a.env.stdout, fill)
	}
	return files.Write(output, fill)
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
