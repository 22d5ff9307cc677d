package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/spf13/pflag"
)

// listOptions say in which form a list is written.
type listOptions struct {
	format    choice
	workspace string
}

func (o *listOptions) addFlags(all *pflag.FlagSet) {
	inGroup(all, flagsOutput, func(flags *pflag.FlagSet) {
		o.format = oneOf("table", "csv", "json")
		flags.Var(&o.format, "format", "how to write it: "+strings.Join(o.format.of, ", "))
		ofWords(flags, "format", o.format.of...)
	})
}

func (o *listOptions) addWorkspace(all *pflag.FlagSet) {
	inGroup(all, flagsSelection, func(flags *pflag.FlagSet) {
		flags.StringVar(&o.workspace, "workspace", "", "workspace's name or id matches this `glob`")
	})
}

// wants reports whether a workspace is listed.
func (o *listOptions) wants(w engine.Workspace) bool {
	return engine.MatchGlob(o.workspace, w.Name) || engine.MatchGlob(o.workspace, w.ID)
}

// writeList writes rows to standard output.
func writeList[T any](ctx context.Context, a *app, format choice, columns []table.Column[T], rows []T) error {
	return table.Write(ctx, a.env.stdout, format.word, columns, table.Known(engine.Pseudonymised(a.names, rows)), a.listOptions("-"))
}

// writeJSON writes a value to standard output.
func (a *app) writeJSON(value any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := a.env.stdout.Write(engine.EscapeJSON(b.Bytes()))
	return err
}
