package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

// Version tells which patrol this is.
func (c commands) Version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(c.env.stdout, "patrol %s (%s, %s/%s)\n", c.env.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
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
