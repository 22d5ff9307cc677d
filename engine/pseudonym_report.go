package engine

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Pseudonymised is the report with pseudonyms for the names of people, wherever
// a format may find them. It reads the tokens once, to learn the full names that
// texts may quote. What formats do not show (rows and documents as the platform
// answered) is left out.
func (r Report) Pseudonymised(p *Pseudonyms) (Report, error) {
	names, err := r.fullNames()
	if err != nil {
		return Report{}, err
	}
	text := p.texts(names...)
	r.Workspaces = mapList(r.Workspaces, func(w WorkspaceReport) WorkspaceReport { return w.pseudonymised(p, text) })
	r.Policies = mapList(r.Policies, func(y PolicyReport) PolicyReport { return y.pseudonymised(text) })
	r.Exceptions = r.Exceptions.pseudonymised(p, text)
	r.Findings = mapEach(r.Findings, func(f Finding) Finding { return f.pseudonymised(p, text) })
	r.Tokens = mapEach(r.Tokens, func(t TokenRow) TokenRow { return t.pseudonymised(p, text) })
	if r.Trend != nil {
		trend := *r.Trend
		trend.New = mapList(trend.New, func(f Finding) Finding { return f.pseudonymised(p, text) })
		r.Trend = &trend
	}
	return r, nil
}

// fullNames are the display names, of two words or more, of people in the
// report, longest first, so that no name hides another that begins with it.
func (r Report) fullNames() ([]string, error) {
	found := map[string]bool{}
	if r.Tokens == nil {
		return nil, nil
	}
	for row, err := range r.Tokens {
		if err != nil {
			return nil, err
		}
		for _, party := range []Party{row.Owner, row.Creator} {
			if party.Kind != ServicePrincipal && strings.Contains(party.DisplayName, " ") {
				found[party.DisplayName] = true
			}
		}
	}
	names := SortedKeys(found)
	slices.SortStableFunc(names, func(a, b string) int { return len(b) - len(a) })
	return names, nil
}

func (f Finding) pseudonymised(p *Pseudonyms, text func(string) string) Finding {
	f.Owner = p.owner(f.Owner)
	f.Message = text(f.Message)
	f.Evidence, _ = mapTexts(f.Evidence, text).(map[string]any)
	if f.Waiver != nil {
		waiver := *f.Waiver
		waiver.Approver, waiver.Reason = p.Name(waiver.Approver), text(waiver.Reason)
		f.Waiver = &waiver
	}
	return f
}

// Pseudonymised is the row with pseudonyms for its owner and creator.
func (t TokenRow) Pseudonymised(p *Pseudonyms) TokenRow { return t.pseudonymised(p, p.Text) }

func (t TokenRow) pseudonymised(p *Pseudonyms, text func(string) string) TokenRow {
	own := p.texts(t.people()...)
	t.Workspace = t.Workspace.pseudonymised(text)
	t.Token.Comment = text(own(t.Token.Comment))
	t.Token.CreatorName = p.owner(t.Token.CreatorName)
	t.Token.Raw = nil
	t.Owner, t.Creator = p.party(t.Owner), p.party(t.Creator)
	return t
}

// people are the names of the people whom a row is about.
func (t TokenRow) people() (names []string) {
	for _, party := range []Party{t.Owner, t.Creator} {
		if party.Kind != ServicePrincipal {
			names = append(names, party.Name, party.DisplayName)
		}
		if party.Account != nil && party.Account.Kind == User {
			names = append(names, party.Account.Name)
		}
	}
	return names
}

func (w WorkspaceReport) pseudonymised(p *Pseudonyms, text func(string) string) WorkspaceReport {
	w.Snapshot.Workspace = w.Snapshot.Workspace.pseudonymised(text)
	w.Snapshot.Documents = onlyAccount(w.Snapshot.Documents)
	w.Snapshot.Coverage = mapValues(w.Snapshot.Coverage, func(c Coverage) Coverage {
		c.Detail = text(c.Detail)
		return c
	})
	w.Settings = mapValues(w.Settings, func(s Setting) Setting {
		if s.Value != nil {
			s.Value = ptr(text(*s.Value))
		}
		s.Detail = text(s.Detail)
		return s
	})
	w.Grants = mapList(w.Grants, func(g Grant) Grant {
		if g.Kind == string(User) {
			g.Principal = p.Name(g.Principal)
		}
		return g
	})
	return w
}

// onlyAccount keeps the list of an account's workspaces, which names nobody and
// tells how many were to be read. All other documents may name people.
func onlyAccount(documents map[SectionName]json.RawMessage) map[SectionName]json.RawMessage {
	list, known := documents[SectionAccount]
	if !known {
		return nil
	}
	return map[SectionName]json.RawMessage{SectionAccount: list}
}

// pseudonymised changes parameters: lists of whom a policy approves of.
func (y PolicyReport) pseudonymised(text func(string) string) PolicyReport {
	y.Policy.Params = mapList(y.Policy.Params, func(param Param) Param {
		param.Default, param.Value = mapTexts(param.Default, text), mapTexts(param.Value, text)
		return param
	})
	return y
}

func (w Workspace) pseudonymised(text func(string) string) Workspace {
	w.Labels = mapValues(w.Labels, text)
	return w
}

func (x Exceptions) pseudonymised(p *Pseudonyms, text func(string) string) Exceptions {
	x.Waivers = mapList(x.Waivers, func(w WaiverUse) WaiverUse {
		w.Owner, w.Approver, w.Reason = p.owner(w.Owner), p.Name(w.Approver), text(w.Reason)
		w.Refusals = mapList(w.Refusals, func(r WaiverRefusal) WaiverRefusal {
			r.Message = text(r.Message)
			return r
		})
		return w
	})
	return x
}

// mapList changes a copy; nil stays nil.
func mapList[L ~[]T, T any](list L, change func(T) T) L {
	list = slices.Clone(list)
	for i, element := range list {
		list[i] = change(element)
	}
	return list
}

// mapValues changes a copy; nil stays nil.
func mapValues[M ~map[K]V, K comparable, V any](m M, change func(V) V) M {
	m = maps.Clone(m)
	for key, value := range m {
		m[key] = change(value)
	}
	return m
}
