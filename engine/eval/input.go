package eval

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
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

func (o *object) number(name string, value *int64) {
	if value != nil {
		o.put(name, numberTerm(value))
	}
}

func (o *object) truth(name string, value *bool) {
	if value != nil {
		o.put(name, truthTerm(value))
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
	if s.Coverage[engine.SectionSecrets].Complete() { // so that every field of them is known
		if err := v.document(engine.SectionSecrets, &v.secrets); err != nil {
			return nil, err
		}
	}
	o, labels, coverage := object{}, object{}, object{}
	o.text("id", s.Workspace.ID)
	o.text("name", s.Workspace.Name)
	o.known("host", s.Workspace.Host)
	o.known("cloud", s.Workspace.Cloud)
	for _, key := range engine.SortedKeys(s.Workspace.Labels) {
		labels.text(key, s.Workspace.Labels[key])
	}
	o.put("labels", labels.term())
	for _, section := range engine.SortedKeys(s.Coverage) { // without what nobody asked for, and what is of the account
		if s.Coverage[section].Requested() && section != engine.SectionAccountPrincipals {
			coverage.text(string(section), string(s.Coverage[section].Status))
		}
	}
	o.put("coverage", coverage.term())
	if s.Coverage[engine.SectionTokens].Usable() {
		o.put("tokens", ast.IntNumberTerm(s.Tokens))
	}
	if s.Coverage[engine.SectionSettings].Usable() {
		v.settings = engine.Settings{}
		if err := v.document(engine.SectionSettings, &v.settings); err != nil {
			return nil, err
		}
		o.settings(v.settings)
	}
	if s.Coverage[engine.SectionWorkspace].Usable() {
		var document struct {
			Caller struct { // as whom the workspace was read
				ID       string   `json:"id"`
				Name     string   `json:"name"`
				Kind     string   `json:"kind"`
				AuthType string   `json:"auth_type"`
				Admin    bool     `json:"admin"`
				Scopes   []string `json:"scopes"`
			} `json:"caller"`
		}
		if err := v.document(engine.SectionWorkspace, &document); err != nil {
			return nil, err
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
	}
	// Grants, and the sections that the engine has no words for.
	for _, section := range engine.SortedKeys(s.Documents) {
		if policy.Reserved(section) || !s.Coverage[section].Usable() {
			continue
		}
		if err := o.document(section, s.Documents[section]); err != nil {
			return nil, fmt.Errorf("read %s of workspace %s: %w", section, s.Workspace.Name, err)
		}
	}
	if previous != nil {
		if err := v.addPrevious(&o, *previous); err != nil {
			return nil, err
		}
	}
	v.term = o.term()
	return v, nil
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

// document adds a document under the name of its section.
func (o *object) document(section engine.SectionName, text json.RawMessage) error {
	value, err := ast.ValueFromReader(bytes.NewReader(text))
	if err == nil {
		o.put(string(section), ast.NewTerm(value))
	}
	return err
}

// settings adds settings as they are, and what patrol understands of them.
func (o *object) settings(settings engine.Settings) {
	values := object{}
	for _, key := range engine.SortedKeys(settings) {
		setting := settings[key]
		if setting.Problem != "" {
			continue
		}
		values.text(key, valueOf(setting))
		switch key {
		case policy.SettingTokensEnabled:
			if on, known := engine.ParseSwitch(setting.Value, true); known {
				o.truth("pats_enabled", &on)
			}
		case policy.SettingMaxLifetime:
			if limit, known := engine.ParseLifetimeLimit(setting.Value); known {
				o.number("max_lifetime_days", &limit.Days)
				o.truth("lifetime_limited", &limit.Limited)
			}
		}
	}
	o.put("settings", values.term())
}

func valueOf(s engine.Setting) string {
	if s.Value == nil {
		return ""
	}
	return *s.Value
}

// addPrevious adds settings and grants as they were before, and who changed them since,
// by the audit log: not the log, which is long, but what it has of that time.
func (v *workspaceView) addPrevious(o *object, before engine.State) error {
	fields, authors, name := object{}, object{}, v.snapshot.Workspace.Name
	log, err := v.snapshot.ChangeLog()
	if err != nil {
		return err
	}
	if before.Settings.Document != nil {
		settings := engine.Settings{}
		if err := json.Unmarshal(before.Settings.Document, &settings); err != nil {
			return fmt.Errorf("read settings of workspace %s: %w", name, err)
		}
		fields.text("settings_at", rfc3339(before.Settings.At))
		fields.settings(settings)
		if log != nil {
			changes := object{}
			for _, key := range engine.SortedKeys(v.settings) {
				changes.put(key, authorsTerm(log.Authors(engine.SectionSettings, key, before.Settings.At, v.snapshot.CollectedAt)))
			}
			authors.put("settings", changes.term())
		}
	}
	if before.Grants.Document != nil {
		fields.text("grants_at", rfc3339(before.Grants.At))
		if err := fields.document(engine.SectionGrants, before.Grants.Document); err != nil {
			return fmt.Errorf("read grants of workspace %s: %w", name, err)
		}
		if log != nil {
			authors.put("grants", authorsTerm(log.Authors(engine.SectionGrants, "", before.Grants.At, v.snapshot.CollectedAt)))
		}
	}
	v.previous = fields.term()
	o.put(policy.Previous, v.previous)
	if log != nil {
		o.put(string(engine.SectionAuditChanges), authors.term())
	}
	return nil
}

func authorsTerm(a engine.Authors) *ast.Term {
	o := object{}
	o.text("text", a.String())
	if a.Unread != "" {
		return o.term()
	}
	o.put("count", ast.IntNumberTerm(a.Count))
	o.instantOf("log_from", a.First)
	o.instantOf("log_until", a.Last)
	var events []*ast.Term
	for _, e := range a.Events {
		event := object{}
		event.instantOf("at", e.At)
		event.text("by", e.Actor)
		event.text("action", e.Action)
		event.known("detail", e.Detail(a.Key))
		events = append(events, event.term())
	}
	if len(events) > 0 {
		o.put("events", ast.ArrayTerm(events...))
	}
	return o.term()
}

func (j *judge) secret(ctx context.Context, a *assignment, s engine.Secret) outcome {
	return j.decide(ctx, a, j.secretInput(a, s), &subject{})
}

func (j *judge) secretInput(a *assignment, s engine.Secret) *ast.Term {
	return j.input(a, [2]*ast.Term{ast.InternedTerm("secret"), secretTerm(s, j.view.asOf)})
}

func secretTerm(s engine.Secret, asOf int64) *ast.Term {
	f := s.Facts(asOf)
	o := object{}
	o.text("id", s.ID)
	o.text("owner_id", s.OwnerID)
	o.text("owner_name", s.OwnerName)
	o.text("owner_display_name", s.OwnerLabel)
	o.text("status", s.Status)
	o.instantOf("created_at", s.Created)
	if s.Expires != engine.NeverExpires {
		o.instantOf("expires_at", s.Expires)
	}
	if s.Scopes != nil {
		o.put("scopes", textsTerm(s.Scopes))
	}
	o.number("age_days", f.AgeDays)
	o.number("lifetime_days", f.LifetimeDays)
	o.number("expires_in_days", f.ExpiresInDays)
	o.truth("never_expires", f.NeverExpires)
	o.truth("expired", f.Expired)
	return o.term()
}

// target is what a finding is about.
type target struct {
	resource           engine.Resource
	id, owner, ownerID string
	row                int64
	account            *engine.AccountParty // of the owner
}

func ofSecret(s engine.Secret) target {
	owner := s.OwnerName
	if owner == "" {
		owner = s.OwnerID
	}
	return target{resource: engine.ResourceSecret, id: s.ID, owner: owner, ownerID: s.OwnerID}
}

func ofToken(s engine.Subject) target {
	return target{engine.ResourceToken, s.Token.ID, s.Owner.WorkspaceLabel(), s.Owner.ID, s.Row, s.Owner.Account}
}

func (v *workspaceView) itself() target {
	return target{resource: engine.ResourceWorkspace, id: v.snapshot.Workspace.ID}
}

// peerFields are those for which tokens must be compared with one another.
var peerFields = sync.OnceValue(func() engine.FieldSet {
	return engine.FieldsWhere(func(f engine.Field) bool { return f.Peers })
})

// subject is a token with what is unknown of it.
type subject struct {
	engine.Subject
	unknown engine.FieldSet
}

// newSubject finds out which of the fields read are unknown of a token in a workspace.
func (v *workspaceView) newSubject(s engine.Subject, read engine.FieldSet) *subject {
	known := &subject{Subject: s}
	v.findUnknown(known, read)
	return known
}

func (v *workspaceView) findUnknown(s *subject, read engine.FieldSet) {
	s.unknown &^= read
	for i, f := range engine.Fields() {
		if bit := engine.FieldSet(1) << i; read&bit != 0 && f.Unknown(&s.Subject, v.known) {
			s.unknown |= bit
		}
	}
}

// seen is the part of a token's input that a policy refers to. The whole input has
// some fifty fields, a policy refers to three: building no more is most of the cost saved.
type seen []seenObject

// seenObject is token, owner or creator.
type seenObject struct {
	key    *ast.Term
	fields []seenField
}

type seenField struct {
	engine.Field
	bit engine.FieldSet
	key *ast.Term
}

func seenBy(read engine.FieldSet) (all seen) {
	for i, f := range engine.Fields() {
		if read&(1<<i) == 0 {
			continue
		}
		object, name := f.Place()
		key := ast.InternedTerm(object)
		if len(all) == 0 || !all[len(all)-1].key.Equal(key) {
			all = append(all, seenObject{key: key})
		}
		last := &all[len(all)-1]
		last.fields = append(last.fields, seenField{f, 1 << i, ast.InternedTerm(name)})
	}
	return all
}

// pairs are the objects of input with what is known of a token.
func (all seen) pairs(v *workspaceView, s *subject) [][2]*ast.Term {
	pairs := make([][2]*ast.Term, 0, len(all)+3)
	for _, one := range all {
		fields := make(object, 0, len(one.fields))
		for _, f := range one.fields {
			if s.unknown&f.bit != 0 || f.Log && !v.known.LogRead {
				continue
			}
			if term := termOf(f.Field, &s.Subject); term != nil {
				fields = append(fields, [2]*ast.Term{f.key, term})
			}
		}
		pairs = append(pairs, [2]*ast.Term{one.key, fields.term()})
	}
	return pairs
}

func termOf(f engine.Field, s *engine.Subject) *ast.Term {
	switch {
	case f.Number != nil:
		return numberTerm(f.Number(s))
	case f.Truth != nil:
		return truthTerm(f.Truth(s))
	case f.Texts != nil:
		return textsTerm(f.Texts(s))
	case f.Time != nil:
		if ms := f.Time(s); ms != nil {
			return ast.StringTerm(rfc3339(time.UnixMilli(*ms)))
		}
	default:
		if text := f.Text(s); text != nil {
			return ast.StringTerm(*text)
		}
	}
	return nil
}

func numberTerm(n *int64) *ast.Term {
	if n == nil {
		return nil
	}
	return ast.IntNumberTerm(int(*n))
}

func truthTerm(b *bool) *ast.Term {
	if b == nil {
		return nil
	}
	return ast.InternedTerm(*b)
}
