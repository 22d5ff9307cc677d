package main

import (
	"fmt"
	"slices"
	"strings"

	"patrol/collectors"
)

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
