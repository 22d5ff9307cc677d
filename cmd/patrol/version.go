package main

import (
	"fmt"
	"io"
	"runtime"

	"patrol/cmd/internal/pipeline"
	"patrol/engine/eval"

	"github.com/spf13/cobra"
)

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

// textWriter fills a file with text.
func textWriter(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
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
