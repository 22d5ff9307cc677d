package eval

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
	"patrol/engine/policy"
)

// object collects the fields of an input object; what is unknown or does not
// apply is left out.
type object [][2]*ast.Term

func (o *object) put(name string, value *ast.Term) {
	*o = append(*o, [2]*ast.Term{ast.InternedTerm(name), value})
}

func (o *object) text(name, value string) { o.put(name, ast.StringTerm(value)) }

func (o *object) known(name, value string) {
	if value != "" {
		o.text(name, value)
	}
}

func (o *object) number(name string, value *int64) { o.some(name, numberTerm(value)) }

func (o *object) truth(name string, value *bool) { o.some(name, truthTerm(value)) }

func (o *object) some(name string, value *ast.Term) {
	if value != nil {
		o.put(name, value)
	}
}

func (o object) term() *ast.Term { return ast.NewTerm(ast.NewObject(o...)) }

func rfc3339(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z07:00") }

func textsTerm(texts []string) *ast.Term {
	if len(texts) == 0 {
		return ast.InternedEmptyArray
	}
	terms := make([]*ast.Term, len(texts))
	for i, text := range texts {
		terms[i] = ast.StringTerm(text)
	}
	return ast.ArrayTerm(terms...)
}

// instantOf adds a time alone, under its whole name.
func (o *object) instantOf(name string, ms int64) { o.text(name, rfc3339(time.UnixMilli(ms))) }

// workspaceView is the workspace as policies see it, and what is missing.
type workspaceView struct {
	snapshot engine.Snapshot
	settings engine.Settings // nil when not covered
	secrets  engine.Secrets
	known    engine.Known
	asOf     int64 // ms
	term     *ast.Term
	previous *ast.Term // settings and grants as they were before; nil: nobody knows
}

func newWorkspaceView(s engine.Snapshot, previous *engine.State, asOf time.Time) (*workspaceView, error) {
	v := &workspaceView{snapshot: s, asOf: asOf.UnixMilli()}
	log := v.coverage(engine.SectionAuditLog)
	groups, listed := s.Coverage[engine.SectionGroups] // snapshots of before have them with the principals
	v.known = engine.Known{
		WholeDirectory: s.Coverage[engine.SectionPrincipals].Whole(), WholeGroups: !listed || groups.Complete(),
		LogAsked: log.Requested(), LogRead: log.Usable(),
	}
	var span engine.LogSpan
	if err := v.document(engine.SectionAuditLog, &span); err != nil {
		return nil, err
	}
	v.known.LogFirst, v.known.LogLast = span.First, span.Last
	o := object{}
	o.text("id", s.Workspace.ID)
	o.text("name", s.Workspace.Name)
	o.known("host", s.Workspace.Host)
	o.known("cloud", s.Workspace.Cloud)
	o.put("labels", labelsTerm(s.Workspace.Labels))
	o.put("coverage", coverageTerm(s.Coverage))
	if s.Coverage[engine.SectionTokens].Usable() {
		o.put("tokens", ast.IntNumberTerm(s.Tokens))
	}
	if err := v.addSettings(&o); err != nil {
		return nil, err
	}
	if err := v.addCaller(&o); err != nil {
		return nil, err
	}
	if err := v.readSecrets(); err != nil {
		return nil, err
	}
	if err := v.addDocuments(&o); err != nil {
		return nil, err
	}
	if previous != nil {
		if err := v.addPrevious(&o, *previous); err != nil {
			return nil, err
		}
		if err := v.addAuthors(&o, *previous); err != nil {
			return nil, err
		}
	}
	v.term = o.term()
	return v, nil
}

// addPrevious adds settings and grants as they were before.
func (v *workspaceView) addPrevious(o *object, state engine.State) error {
	before := &workspaceView{snapshot: engine.Snapshot{
		Workspace: v.snapshot.Workspace, Coverage: map[engine.SectionName]engine.Coverage{}, Documents: map[engine.SectionName]json.RawMessage{},
	}}
	fields := object{}
	for _, part := range []struct {
		section engine.SectionName
		at      string
		dated   engine.Dated
	}{{engine.SectionSettings, "settings_at", state.Settings}, {engine.SectionGrants, "grants_at", state.Grants}} {
		if part.dated.Document != nil {
			before.snapshot.Coverage[part.section] = engine.Coverage{Status: engine.Complete}
			before.snapshot.Documents[part.section] = part.dated.Document
			fields.text(part.at, rfc3339(part.dated.At))
		}
	}
	if err := before.addSettings(&fields); err != nil {
		return err
	}
	if err := before.addDocuments(&fields); err != nil {
		return err
	}
	v.previous = fields.term()
	o.put(policy.Previous, v.previous)
	return nil
}

// addCaller tells as whom the workspace was read.
func (v *workspaceView) addCaller(o *object) error {
	if !v.snapshot.Coverage[engine.SectionWorkspace].Usable() {
		return nil
	}
	var document struct {
		Caller struct {
			ID       string   `json:"id"`
			Name     string   `json:"name"`
			Kind     string   `json:"kind"`
			AuthType string   `json:"auth_type"`
			Admin    bool     `json:"admin"`
			Scopes   []string `json:"scopes"`
		} `json:"caller"`
	}
	if err := v.document(engine.SectionWorkspace, &document); err != nil {
		return err
	}
	caller := object{}
	caller.known("id", document.Caller.ID)
	caller.known("name", document.Caller.Name)
	caller.known("kind", document.Caller.Kind)
	caller.known("auth_type", document.Caller.AuthType)
	caller.truth("admin", &document.Caller.Admin)
	if document.Caller.Scopes != nil {
		caller.put("scopes", textsTerm(document.Caller.Scopes))
	}
	o.put("caller", caller.term())
	return nil
}

// document decodes the document of a section, where there is one.
func (v *workspaceView) document(section engine.SectionName, into any) error {
	document := v.snapshot.Documents[section]
	if len(document) == 0 {
		return nil
	}
	if err := json.Unmarshal(document, into); err != nil {
		return fmt.Errorf("read %s of workspace %s: %w", section, v.snapshot.Workspace.Name, err)
	}
	return nil
}

func labelsTerm(labels map[string]string) *ast.Term {
	o := object{}
	for _, key := range engine.SortedKeys(labels) {
		o.text(key, labels[key])
	}
	return o.term()
}

// coverageTerm leaves out what nobody asked for, and what is of the account.
func coverageTerm(coverage map[engine.SectionName]engine.Coverage) *ast.Term {
	o := object{}
	for _, section := range engine.SortedKeys(coverage) {
		if !coverage[section].Requested() || section == engine.SectionAccountPrincipals {
			continue
		}
		o.text(string(section), string(coverage[section].Status))
	}
	return o.term()
}

func (v *workspaceView) addSettings(o *object) error {
	if !v.snapshot.Coverage[engine.SectionSettings].Usable() {
		return nil
	}
	v.settings = engine.Settings{}
	if err := v.document(engine.SectionSettings, &v.settings); err != nil {
		return err
	}
	values := object{}
	for _, key := range engine.SortedKeys(v.settings) {
		if setting := v.settings[key]; setting.Problem == "" {
			values.text(key, valueOf(setting))
		}
	}
	o.put("settings", values.term())
	if on, known := v.tokensEnabled(); known {
		o.truth("pats_enabled", &on)
	}
	if limit, known := v.lifetimeLimit(); known {
		o.number("max_lifetime_days", &limit.Days)
		o.truth("lifetime_limited", &limit.Limited)
	}
	return nil
}

func valueOf(s engine.Setting) string {
	if s.Value == nil {
		return ""
	}
	return *s.Value
}

func (v *workspaceView) tokensEnabled() (on, known bool) {
	setting, read := v.settings[policy.SettingTokensEnabled]
	if !read || setting.Problem != "" {
		return false, false
	}
	return engine.ParseSwitch(setting.Value, true)
}

func (v *workspaceView) lifetimeLimit() (engine.LifetimeLimit, bool) {
	setting, read := v.settings[policy.SettingMaxLifetime]
	if !read || setting.Problem != "" {
		return engine.LifetimeLimit{}, false
	}
	return engine.ParseLifetimeLimit(setting.Value)
}

// addDocuments adds grants and the sections that the engine has no words for.
func (v *workspaceView) addDocuments(o *object) error {
	for _, section := range engine.SortedKeys(v.snapshot.Documents) {
		if policy.Reserved(section) || !v.snapshot.Coverage[section].Usable() {
			continue
		}
		value, err := ast.ValueFromReader(strings.NewReader(string(v.snapshot.Documents[section])))
		if err != nil {
			return fmt.Errorf("read %s of workspace %s: %w", section, v.snapshot.Workspace.Name, err)
		}
		o.put(string(section), ast.NewTerm(value))
	}
	return nil
}
