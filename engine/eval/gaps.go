package eval

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
	"patrol/engine/policy"
)

// gaps says, for each need of a policy that this workspace does not cover, what
// is missing and why, and which fields of input.workspace that it reads were covered
// but make no sense, or nobody knows. Tokens and principals are judged row by row, so
// that a partial section will do; everything else must be whole.
func (v *workspaceView) gaps(p *policy.Compiled) (gaps []string) {
	add := func(format string, args ...any) { // several keys of a section that was not read are one gap
		if gap := fmt.Sprintf(format, args...); !slices.Contains(gaps, gap) {
			gaps = append(gaps, gap)
		}
	}
	for _, need := range p.Needs {
		section, key, single := strings.Cut(need, ".")
		coverage := v.coverage(engine.SectionName(section))
		setting, read := v.settings[key]
		byRow := section == string(engine.SectionTokens) || section == string(engine.SectionPrincipals)
		switch {
		case !coverage.Usable(), !byRow && !single && !coverage.Complete():
			add("%s is %s", section, coverageText(coverage))
		case !single:
		case !read:
			add("setting %s was not collected", key)
		case setting.Problem == engine.Unsupported:
			add("setting %s is unsupported: this workspace does not know it", key)
		case setting.Problem != "":
			add("setting %s is %s", key, coverageText(engine.Coverage{Status: setting.Problem, Detail: setting.Detail}))
		}
	}
	// lacks: the policy reads this very field, or all of the workspace, and it is absent.
	lacks := func(name string) bool {
		return p.Reads.Touches("workspace", name) && v.term.Get(ast.StringTerm(name)) == nil
	}
	before := v.previous != nil && v.previous.Get(ast.StringTerm("settings_at")) != nil
	fields := [][3]string{
		{"pats_enabled", policy.SettingTokensEnabled, "true or false"},
		{"max_lifetime_days", policy.SettingMaxLifetime, "a number of days"},
		{"lifetime_limited", policy.SettingMaxLifetime, "a number of days"},
	}
	for _, field := range fields {
		if setting, read := v.settings[field[1]]; read && setting.Problem == "" && lacks(field[0]) {
			add("setting %s is %q, which is not %s", field[1], valueOf(setting), field[2])
		}
	}
	for _, field := range fields {
		if before && p.Reads.Touches("workspace", policy.Previous, field[0]) && v.previous.Get(ast.StringTerm(field[0])) == nil {
			add("what %s was in the snapshot before is not known", field[0])
		}
	}
	// An OAuth token may not tell its scopes. A personal access token is judged without them.
	if caller := v.term.Get(ast.StringTerm("caller")); caller != nil && caller.Get(ast.StringTerm("scopes")) == nil && p.Reads.Touches("workspace", "caller", "scopes") {
		if authType := caller.Get(ast.StringTerm("auth_type")); authType != nil && !authType.Equal(ast.StringTerm("pat")) {
			add("the scopes of the credential that patrol signs in with are not known")
		}
	}
	for _, name := range []string{"cloud", "host"} {
		if lacks(name) {
			add("the workspace's %s is not known", name)
		}
	}
	return gaps
}

func coverageText(c engine.Coverage) string {
	text := string(c.Status)
	if c.Reason != "" {
		text += " (" + c.Reason + ")"
	}
	if c.Detail != "" {
		text += ": " + c.Detail
	}
	return text
}

// notApplicable: the policy needs a section that is read on request only, and
// nobody asked for it; or it is about tokens, and they are off.
func (v *workspaceView) notApplicable(p *policy.Compiled) bool {
	return slices.ContainsFunc(p.Needs, func(need string) bool {
		c := v.coverage(engine.SectionName(need))
		return !c.Requested() || c.Status == engine.Off
	})
}

// coverage is the state of a section. A snapshot from before a section was
// known does not list it: nobody asked for one that is read on request only.
func (v *workspaceView) coverage(section engine.SectionName) engine.Coverage {
	coverage, listed := v.snapshot.Coverage[section]
	switch {
	case section == policy.Previous && v.previous == nil:
		return engine.NotRequested("no snapshot before read settings or grants whole")
	case section == policy.Previous:
		return engine.Coverage{Status: engine.Complete}
	case listed:
		return coverage
	}
	switch section {
	case engine.SectionAuditLog, engine.SectionAuditChanges, engine.SectionSecrets, engine.SectionTokenReport,
		engine.SectionFederation, engine.SectionOAuthApps, engine.SectionRecipients:
		return engine.NotRequested("")
	}
	return engine.Coverage{Status: engine.NotCollected}
}
