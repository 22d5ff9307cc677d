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
// is missing and why. Tokens and principals are judged row by row, so that a
// partial section will do; everything else must be whole.
func (v *workspaceView) gaps(p *policy.Compiled) []string {
	var gaps []string
	for _, need := range p.Needs {
		if gap := v.gap(need); gap != "" {
			gaps = append(gaps, gap)
		}
	}
	var distinct []string // several keys of a section that was not read are one gap
	for _, gap := range append(gaps, v.unreadable(p)...) {
		if !slices.Contains(distinct, gap) {
			distinct = append(distinct, gap)
		}
	}
	return distinct
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
// known does not list it.
func (v *workspaceView) coverage(section engine.SectionName) engine.Coverage {
	coverage, listed := v.snapshot.Coverage[section]
	switch {
	case section == policy.Previous && v.previous == nil:
		return engine.NotRequested("no snapshot before read settings or grants whole")
	case section == policy.Previous:
		return engine.Coverage{Status: engine.Complete}
	case listed:
		return coverage
	case slices.Contains(onRequest(), section):
		return engine.NotRequested("")
	}
	return engine.Coverage{Status: engine.NotCollected}
}

// onRequest are the sections that are read on request only.
func onRequest() []engine.SectionName {
	return []engine.SectionName{engine.SectionAuditLog, engine.SectionAuditChanges, engine.SectionSecrets, engine.SectionTokenReport,
		engine.SectionFederation, engine.SectionOAuthApps, engine.SectionRecipients}
}

func (v *workspaceView) gap(need string) string {
	section, key, single := strings.Cut(need, ".")
	coverage := v.coverage(engine.SectionName(section))
	byRow := section == string(engine.SectionTokens) || section == string(engine.SectionPrincipals)
	switch {
	case !coverage.Usable(), !byRow && !single && !coverage.Complete():
		return section + " is " + coverageText(coverage)
	case single:
		return v.settingGap(key)
	}
	return ""
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

func (v *workspaceView) settingGap(key string) string {
	setting, read := v.settings[key]
	switch {
	case !read:
		return "setting " + key + " was not collected"
	case setting.Problem == engine.Unsupported:
		return "setting " + key + " is unsupported: this workspace does not know it"
	case setting.Problem != "":
		return "setting " + key + " is " + coverageText(engine.Coverage{Status: setting.Problem, Detail: setting.Detail})
	}
	return ""
}

// unreadable reports fields of input.workspace that were covered but make no
// sense, or that nobody knows.
func (v *workspaceView) unreadable(p *policy.Compiled) []string {
	var gaps, before []string
	for _, field := range []struct{ name, key, want string }{
		{"pats_enabled", policy.SettingTokensEnabled, "true or false"},
		{"max_lifetime_days", policy.SettingMaxLifetime, "a number of days"},
		{"lifetime_limited", policy.SettingMaxLifetime, "a number of days"},
	} {
		if setting, read := v.settings[field.key]; read && setting.Problem == "" && v.lacks(p, field.name) {
			gaps = append(gaps, fmt.Sprintf("setting %s is %q, which is not %s", field.key, valueOf(setting), field.want))
		}
		if v.previous != nil && v.previous.Get(ast.StringTerm("settings_at")) != nil && p.Reads.Touches("workspace", policy.Previous, field.name) && v.previous.Get(ast.StringTerm(field.name)) == nil {
			before = append(before, "what "+field.name+" was in the snapshot before is not known")
		}
	}
	gaps = append(gaps, before...)
	if p.Reads.Touches("workspace", "caller", "scopes") && v.scopesUnknown() {
		gaps = append(gaps, "the scopes of the credential that patrol signs in with are not known")
	}
	for _, name := range []string{"cloud", "host"} {
		if v.lacks(p, name) {
			gaps = append(gaps, "the workspace's "+name+" is not known")
		}
	}
	return gaps
}

// scopesUnknown: the credential is an OAuth token that does not tell its scopes. A
// personal access token is judged without them.
func (v *workspaceView) scopesUnknown() bool {
	caller := v.term.Get(ast.StringTerm("caller"))
	if caller == nil || caller.Get(ast.StringTerm("scopes")) != nil {
		return false
	}
	authType := caller.Get(ast.StringTerm("auth_type"))
	return authType != nil && !authType.Equal(ast.StringTerm("pat"))
}

// lacks: the policy reads this very field, or all of the workspace, and it is absent.
func (v *workspaceView) lacks(p *policy.Compiled, name string) bool {
	return p.Reads.Touches("workspace", name) && v.term.Get(ast.StringTerm(name)) == nil
}
