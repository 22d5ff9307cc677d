package plan

import (
	"fmt"
	"strings"

	"patrol/engine"
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
	fmt.Fprintf(&b, "if [ \"${CONFIRM:-}\" != %s ]; then\n\techo %s >&2\n\texit 3\nfi\n", shellQuote(p.ID), shellQuote("To run this script set CONFIRM="+p.ID))
	// RFC 3339 in UTC sorts as text; so do its digits as a number.
	fmt.Fprintf(&b, "now=$(date -u +%%Y%%m%%d%%H%%M%%S)\nif [ \"$now\" -lt %s ] || [ \"$now\" -ge %s ]; then\n\techo %s >&2\n\texit 3\nfi\n",
		digits(p.NotBefore), digits(p.ExpiresAt), shellQuote("This plan may be applied from "+p.NotBefore+" until "+p.ExpiresAt+"."))
	for i, w := range p.Workspaces {
		b.WriteByte('\n')
		comment(&b, "", "Workspace %s (%s) at %s", w.Name, w.ID, w.Host)
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
	comment(b, "", "%s %s %s: %s", s.ID, s.Action, strings.TrimSpace(s.Target+" "+s.Owner), s.Risk.Why)
	for i, policy := range s.Policies {
		comment(b, "", "  %s %s", policy, s.Reasons[i])
	}
	command := cliCommand(s, profile)
	switch {
	case command == "":
	case s.Critical:
		comment(b, "", "CRITICAL, not before %s: remove the # when you are sure.", s.NotBefore)
		b.WriteString("# " + command + "\n")
	default:
		b.WriteString(command + "\n")
	}
}

// cliCommand is one line; everything foreign in it is quoted.
func cliCommand(s engine.Step, profile string) string {
	flag := fmt.Sprintf(` --profile "$%s"`, profile)
	patch := func(field string) string {
		body := map[string]any{"token": map[string]any{field: s.Expected[field]}, "update_mask": field}
		return "databricks api patch" + flag + " --json " + shellQuote(asciiJSON(body)) + " -- " + shellQuote("/api/2.0/token-management/tokens/"+s.Target)
	}
	switch s.Action {
	case engine.Revoke:
		return "databricks token-management delete" + flag + " -- " + shellQuote(s.Target)
	case engine.NarrowScopes:
		return patch("scopes")
	case engine.SetComment:
		return patch("comment")
	case engine.SetSetting:
		return "databricks workspace-conf set-status" + flag + " --json " + shellQuote(asciiJSON(map[string]any{s.Target: s.Expected["value"]}))
	case engine.ChangeGrant:
		return "databricks token-management set-permissions" + flag + " --json " + shellQuote(asciiJSON(map[string]any{"access_control_list": wholeList(s)}))
	}
	return ""
}

// wholeList is the list to set, which replaces the one that is there.
func wholeList(s engine.Step) []map[string]any {
	list := []map[string]any{{"group_name": "admins", "permission_level": levelManage}}
	for _, grant := range keptGrants(s) {
		list = append(list, map[string]any{principalField(grant): grant["principal"], "permission_level": levelUse})
	}
	return list
}

// asciiJSON keeps a command on one line of visible characters.
func asciiJSON(value any) string {
	var b strings.Builder
	for _, r := range string(engine.CompactJSON(value)) {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// shellQuote quotes for any POSIX shell. No character acts within single
// quotes; those that would break the line are shown instead of meant.
func shellQuote(text string) string {
	return "'" + strings.ReplaceAll(engine.SafeText(text), "'", `'\''`) + "'"
}
