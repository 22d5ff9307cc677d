package main

import (
	"context"
	"io"
	"strings"

	"patrol/cmd/internal/config"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports/table"

	"github.com/spf13/pflag"
)

// productOptions say in which form a list from the database is written, and
// where to.
type productOptions struct {
	format choice
	output string
}

// addFlags adds the flags; the first of the forms is the default.
func (o *productOptions) addFlags(all *pflag.FlagSet, forms ...string) {
	inGroup(all, flagsOutput, func(flags *pflag.FlagSet) {
		o.format = oneOf(forms...)
		flags.Var(&o.format, "format", "how to write it: "+strings.Join(forms, ", "))
		ofWords(flags, "format", forms...)
		flags.StringVarP(&o.output, "output", "o", "-", "write to this `file` (- for standard output)")
		config.OwnPlace(flags, "output")
	})
}

// withProduct opens the database for a list that can be written.
func (a *app) withProduct(ctx context.Context, o *productOptions, work func(*store.DB) error) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	return a.withStore(ctx, store.ReadOnly, work)
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
