package main

import (
	"fmt"
	"slices"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/exceptions"
	"patrol/engine/strictyaml"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

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
