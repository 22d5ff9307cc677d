package eval

import (
	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
)

// addAuthors adds who changed settings and grants since the snapshot before, by
// the audit log: not the log, which is long, but what it has of that time.
func (v *workspaceView) addAuthors(o *object, state engine.State) error {
	log, err := v.snapshot.ChangeLog()
	if err != nil || log == nil {
		return err
	}
	fields, until := object{}, v.snapshot.CollectedAt
	if state.Settings.Document != nil {
		settings := object{}
		for _, key := range engine.SortedKeys(v.settings) {
			settings.put(key, authorsTerm(log.Authors(engine.SectionSettings, key, state.Settings.At, until)))
		}
		fields.put("settings", settings.term())
	}
	if state.Grants.Document != nil {
		fields.put("grants", authorsTerm(log.Authors(engine.SectionGrants, "", state.Grants.At, until)))
	}
	o.put(string(engine.SectionAuditChanges), fields.term())
	return nil
}

func authorsTerm(a engine.Authors) *ast.Term {
	o := object{}
	o.text("text", a.String())
	if a.Unread != "" {
		return o.term()
	}
	events := make([]*ast.Term, len(a.Events))
	for i, e := range a.Events {
		event := object{}
		event.instantOf("at", e.At)
		event.text("by", e.Actor)
		event.text("action", e.Action)
		event.known("detail", e.Detail(a.Key))
		events[i] = event.term()
	}
	o.put("count", ast.IntNumberTerm(a.Count))
	o.instantOf("log_from", a.First)
	o.instantOf("log_until", a.Last)
	if len(events) > 0 {
		o.put("events", ast.ArrayTerm(events...))
	}
	return o.term()
}
