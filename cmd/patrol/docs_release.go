package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patrol/collectors"
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

// sectionsPage lists what is read of a workspace, with what rights and scopes.
func sectionsPage() string {
	var b strings.Builder
	b.WriteString("# What is read, and what it takes\n\n" + generatedNotice)
	b.WriteString("Each section of a snapshot is read by GET calls. Rights belong to the principal that signs in; scopes to its credential, where that is an\n" +
		"OAuth token. A refusal for a missing scope has the reason `missing_scope`, and `patrol doctor` names the scope. Scopes are those of the platform's\n" +
		"[list of API scopes](https://docs.databricks.com/api/workspace/scopes) as of 2026-11-30; `:read` is its GET and HEAD calls.\n\n")
	b.WriteString("| section | what | calls | rights | scopes |\n|---|---|---|---|---|\n")
	for _, c := range collectors.All() {
		what := c.Doc
		if c.OnRequest != "" && c.Flag == "" {
			what += "; on request: `--with " + string(c.Section) + "`"
		}
		if c.Flag != "" {
			what += "; from a file: `" + c.Flag + "`"
		}
		var calls []string
		for _, call := range c.Calls {
			calls = append(calls, "`"+call+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", c.Section, what, strings.Join(calls, "<br>"), c.Rights, strings.Join(c.Scopes, ", "))
	}
	fmt.Fprintf(&b, "\nAn audit without sections on request takes `%s`: in a profile, one line `scopes = %s`.\n",
		strings.Join(auditScopes(), "`, `"), strings.Join(auditScopes(), ","))
	return b.String()
}

// auditScopes are what an ordinary audit needs.
func auditScopes() []string {
	var scopes []string
	for _, c := range collectors.All() {
		if c.OnRequest == "" {
			scopes = append(scopes, c.Scopes...)
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}
