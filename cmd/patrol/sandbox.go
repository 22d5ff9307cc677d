package main

import (
	"os"
	"os/exec"

	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/eval/sandbox"

	"github.com/spf13/cobra"
)

// sandboxCommand is what patrol calls itself by to judge policies of others.
const sandboxCommand = "__sandbox"

// Sandbox judges policies of others; patrol starts it by itself. It reads
// neither configuration nor environment.
func (c commands) Sandbox() *cobra.Command {
	return &cobra.Command{
		Use:    sandboxCommand,
		Short:  "Judge policies of others for another patrol",
		Hidden: true,
		Args:   cobra.NoArgs,
		// Not what all commands do first: there is no configuration here.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, _ []string) error {
			return eval.ServeSandbox(cmd.Context(), c.env.stdin, c.env.stdout)
		},
	}
}

// newSandbox makes the command that starts this program again.
func newSandbox() (sandbox.Command, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, &engine.Error{Class: engine.ClassStorage, Reason: "sandbox", Op: "find", Target: "patrol's own program file",
			Hint: "Policies of --policy are judged in a process of its own, for which patrol starts itself.", Err: err}
	}
	return func() *exec.Cmd { return &exec.Cmd{Path: path, Args: []string{"patrol", sandboxCommand}} }, nil
}
