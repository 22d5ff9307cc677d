package main

import (
	"fmt"
	"slices"
	"strings"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"

	"github.com/spf13/cobra"
)

// policiesDocs writes a page for each policy.
func (a *app) policiesDocs() *cobra.Command {
	var o pipeline.Judging
	cmd := &cobra.Command{
		Use:     "docs DIR",
		Short:   "Write a page for each policy, and an index, as Markdown",
		Long:    "Writes what each policy finds, why it matters, what to do, its parameters and controls, and its Rego: a page per policy and\nan index, README.md.",
		Example: "  patrol policies docs docs/policies\n  patrol policies docs site/policies --policy my-policies",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := a.loadPolicies(cmd.Context(), &o)
			if err != nil {
				return err
			}
			return writePages(args[0], policyPages(set.Every()))
		},
	}
	addPackFlags(cmd.Flags(), &o)
	return cmd
}

// policyPages are the pages by file name.
func policyPages(policies []engine.Policy) map[string]string {
	pages := map[string]string{"README.md": policyIndex(policies)}
	for _, p := range policies {
		pages[p.ID+".md"] = policyPage(p)
	}
	return pages
}

func policyIndex(policies []engine.Policy) string {
	var b strings.Builder
	b.WriteString(generatedNotice + "# Policies\n\nWorst first. [The policy contract](../policy-contract.md) tells how to write your own.\n\n| id | severity | judges | finds | remedy |\n|---|---|---|---|---|\n")
	for _, p := range policies {
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s | %s | %s |\n", p.ID, p.ID, p.Severity, judges(p), inMarkdown(p.Title), p.Remedy)
	}
	return b.String()
}

func policyPage(p engine.Policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s# %s: %s\n\n%s\n", generatedNotice, p.ID, inMarkdown(p.Title), inMarkdown(p.Description))
	if p.Remediation != "" {
		fmt.Fprintf(&b, "\n**What to do.** %s\n", inMarkdown(p.Remediation))
	}
	b.WriteString("\n| | |\n|---|---|\n")
	for _, row := range [][2]string{
		{"severity", string(p.Severity)}, {"judges", judges(p)}, {"remedy", p.Remedy},
		{"needs", code(p.Needs)}, {"also known as", code(p.Aliases)},
	} {
		if row[1] != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", row[0], row[1])
		}
	}
	writeParams(&b, p)
	writeControls(&b, p)
	fence := "```"
	for strings.Contains(p.Source, fence) {
		fence += "`"
	}
	fmt.Fprintf(&b, "\n## Rule\n\n%srego\n%s\n%s\n", fence, safeSource(rule(p.Source)), fence)
	return b.String()
}

func writeParams(b *strings.Builder, p engine.Policy) {
	if len(p.Params) == 0 {
		return
	}
	b.WriteString("\n## Parameters\n\n| name | default | meaning |\n|---|---|---|\n")
	for _, param := range p.Params {
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", param.Name, strings.ReplaceAll(jsonText(param.Default), "|", `\|`), inMarkdown(param.Description))
	}
	fmt.Fprintf(b, "\nChange one in `patrol.yaml`:\n\n```yaml\npolicies:\n  %s:\n    params: {%s: %s}\n```\n", p.ID, p.Params[0].Name, jsonText(p.Params[0].Default))
}

func writeControls(b *strings.Builder, p engine.Policy) {
	if len(p.Controls) == 0 {
		return
	}
	b.WriteString("\n## Controls\n\n")
	for _, framework := range engine.SortedKeys(p.Controls) {
		fmt.Fprintf(b, "- %s: %s\n", inMarkdown(framework), inMarkdown(strings.Join(p.Controls[framework], ", ")))
	}
}

// rule is the Rego without its metadata, which the page already shows.
func rule(source string) string {
	lines := strings.Split(source, "\n")
	start := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "package ") })
	return strings.TrimSpace(strings.Join(lines[max(start, 0):], "\n"))
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// inMarkdown is a text of a pack in a page: no HTML, link, image or cell of its own.
func inMarkdown(text string) string {
	return strings.NewReplacer("<", "&lt;", "|", `\|`, "[", `\[`).Replace(oneLine(text))
}

func code(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = "`" + word + "`"
	}
	return strings.Join(quoted, ", ")
}
