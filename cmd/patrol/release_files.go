package main

import (
	"os"
	"path/filepath"

	"patrol/engine"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// ReleaseFiles makes what a release holds beside the binary: man pages and
// shell completions. It is hidden: only the release uses it. Man pages bear the
// date of SOURCE_DATE_EPOCH, so that a release can be built again.
func (c commands) ReleaseFiles() *cobra.Command {
	return &cobra.Command{
		Use:    "release-files DIR",
		Short:  "Generate man pages and shell completions",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return releaseFiles(cmd.Root(), args[0])
		},
	}
}

func releaseFiles(root *cobra.Command, dir string) error {
	man, completions := filepath.Join(dir, "man"), filepath.Join(dir, "completions")
	for _, part := range []string{man, completions} {
		if err := os.MkdirAll(part, 0o755); err != nil {
			return &engine.Error{Class: engine.ClassStorage, Reason: "output", Op: "create", Target: part, Hint: "Name another directory.", Err: err}
		}
	}
	root.DisableAutoGenTag = true
	if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "patrol", Manual: "patrol"}, man); err != nil {
		return err
	}
	for name, write := range map[string]func(string) error{
		"patrol.bash": func(path string) error { return root.GenBashCompletionFileV2(path, true) },
		"_patrol":     root.GenZshCompletionFile,
		"patrol.fish": func(path string) error { return root.GenFishCompletionFile(path, true) },
		"patrol.ps1":  root.GenPowerShellCompletionFileWithDesc,
	} {
		if err := write(filepath.Join(completions, name)); err != nil {
			return err
		}
	}
	return nil
}
