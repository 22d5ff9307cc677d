package plan

import (
	"fmt"
	"strings"

	"patrol/engine"
	"patrol/engine/remedy"
)

// CLI is a shell script of calls of the Databricks command line.
func (exports) CLI() Export {
	return Export{Name: "cli", Ending: ".sh", Doc: "shell script of `databricks` calls", Render: renderCLI}
}

func renderCLI(p engine.Plan, sha256 string) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	exportHead(&b, p, sha256)
	b.WriteString(`#
# patrol never runs this script. Unlike patrol apply it looks at nothing before it
# acts: a token that was used, replaced or approved for longer since the plan is
# revoked all the same, limits and approvals do not count, and nothing is recorded.
# Revoking cannot be undone. What could break most is commented out: read it first.
set -eu
`)
	fmt.Fprintf(&b, "if [ \"${CONFIRM:-}\" != %s ]; then\n\techo %s >&2\n\texit 3\nfi\n", remedy.ShellQuote(p.ID), remedy.ShellQuote("To run this script set CONFIRM="+p.ID))
	// RFC 3339 in UTC sorts as text; so do its digits as a number.
	fmt.Fprintf(&b, "now=$(date -u +%%Y%%m%%d%%H%%M%%S)\nif [ \"$now\" -lt %s ] || [ \"$now\" -ge %s ]; then\n\techo %s >&2\n\texit 3\nfi\n",
		digits(p.NotBefore), digits(p.ExpiresAt), remedy.ShellQuote("This plan may be applied from "+p.NotBefore+" until "+p.ExpiresAt+"."))
	for i, w := range p.Workspaces {
		b.WriteByte('\n')
		remedy.Comment(&b, "", "Workspace %s (%s) at %s", w.Name, w.ID, w.Host)
		profile := fmt.Sprintf("PROFILE_%d", i+1)
		fmt.Fprintf(&b, ": \"${%s:?set %s to the profile of the %s workspace named above}\"\n", profile, profile, ordinal(i+1))
		for _, s := range stepsOf(p, w.ID) {
			cliStep(&b, s, profile)
		}
	}
	return b.String()
}

// digits are those of a time in UTC, as date prints them.
func digits(stamp string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, stamp)
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "first"
	case 2:
		return "second"
	case 3:
		return "third"
	}
	return fmt.Sprintf("%dth", n)
}

func cliStep(b *strings.Builder, s engine.Step, profile string) {
	b.WriteByte('\n')
	remedy.Comment(b, "", "%s %s %s: %s", s.ID, s.Action, strings.TrimSpace(s.Target+" "+s.Owner), s.Risk.Why)
	for i, policy := range s.Policies {
		remedy.Comment(b, "", "  %s %s", policy, s.Reasons[i])
	}
	command := ""
	if cli := remedy.Of(s.Action).CLI; cli != nil { // one line; everything foreign in it is quoted
		command = cli(s, ` --profile "$`+profile+`"`)
	}
	switch {
	case command == "":
	case s.Critical:
		remedy.Comment(b, "", "CRITICAL, not before %s: remove the # when you are sure.", s.NotBefore)
		b.WriteString("# " + command + "\n")
	default:
		b.WriteString(command + "\n")
	}
}
