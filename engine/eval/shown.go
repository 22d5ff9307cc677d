package eval

import (
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
)

// shown is the part of a token's input that a policy refers to. The whole input
// has some fifty fields, a policy refers to three: building no more is most of
// the cost saved.
type shown []shownObject

// shownObject is token, owner or creator.
type shownObject struct {
	key    *ast.Term
	fields []shownField
}

type shownField struct {
	key  *ast.Term
	term fieldTerm
}

// fieldTerm builds the value of a field; nil when it is absent.
type fieldTerm func(v *workspaceView, s *subject) *ast.Term

// newShown finds the fields behind references. A reference to an object shows
// all of it.
func newShown(refs []ast.Ref) (all shown) {
	for _, object := range []struct {
		name  string
		names []string
		terms map[string]fieldTerm
	}{
		{"token", tokenFields(), tokenTerms()},
		{"owner", partyFields(), partyTerms(func(s *subject) engine.Party { return s.Owner })},
		{"creator", partyFields(), partyTerms(func(s *subject) engine.Party { return s.Creator })},
	} {
		wanted, whole := wantedFields(refs, object.name)
		if !whole && len(wanted) == 0 {
			continue
		}
		one := shownObject{key: ast.InternedTerm(object.name)}
		for _, name := range object.names {
			if whole || wanted[name] {
				one.fields = append(one.fields, shownField{ast.InternedTerm(name), object.terms[name]})
			}
		}
		all = append(all, one)
	}
	return all
}

func wantedFields(refs []ast.Ref, object string) (names map[string]bool, whole bool) {
	names = map[string]bool{}
	for _, ref := range refs {
		root, name := word(ref, 1), word(ref, 2)
		switch {
		case root == "" || root == object && name == "":
			return nil, true
		case root == object:
			names[name] = true
		}
	}
	return names, false
}

// pairs is the shown part of a token.
func (all shown) pairs(v *workspaceView, s *subject) [][2]*ast.Term {
	pairs := make([][2]*ast.Term, 0, len(all)+3)
	for _, one := range all {
		fields := make(object, 0, len(one.fields))
		for _, field := range one.fields {
			if term := field.term(v, s); term != nil {
				fields = append(fields, [2]*ast.Term{field.key, term})
			}
		}
		pairs = append(pairs, [2]*ast.Term{one.key, fields.term()})
	}
	return pairs
}

// tokenTerms builds the fields of input.token.
func tokenTerms() map[string]fieldTerm {
	t := newFactTable()
	// unlessUnknown is for fields that have a value of their own when the
	// platform left them out, so that only a defect tells that they are unknown.
	unlessUnknown := func(name string, term fieldTerm) fieldTerm {
		return func(v *workspaceView, s *subject) *ast.Term {
			if s.unknown&t.bits[name] != 0 {
				return nil
			}
			return term(v, s)
		}
	}
	terms := map[string]fieldTerm{
		"id":              func(_ *workspaceView, s *subject) *ast.Term { return ast.StringTerm(s.Token.ID) },
		"owner_id":        func(_ *workspaceView, s *subject) *ast.Term { return knownTerm(s.Token.OwnerID) },
		"creator_id":      func(_ *workspaceView, s *subject) *ast.Term { return knownTerm(s.Token.CreatorID) },
		"creator_name":    func(_ *workspaceView, s *subject) *ast.Term { return knownTerm(s.Token.CreatorName) },
		"created_at":      func(_ *workspaceView, s *subject) *ast.Term { return instantTerm(s.Token.Created) },
		"created_ms":      func(_ *workspaceView, s *subject) *ast.Term { return finiteTerm(s.Token.Created) },
		"expires_at":      func(_ *workspaceView, s *subject) *ast.Term { return instantTerm(s.Token.Expires) },
		"expires_ms":      func(_ *workspaceView, s *subject) *ast.Term { return finiteTerm(s.Token.Expires) },
		"last_used_at":    func(_ *workspaceView, s *subject) *ast.Term { return instantTerm(s.Token.LastUsed) },
		"last_used_ms":    func(_ *workspaceView, s *subject) *ast.Term { return finiteTerm(s.Token.LastUsed) },
		"age_days":        func(_ *workspaceView, s *subject) *ast.Term { return numberTerm(s.Facts.AgeDays) },
		"lifetime_days":   func(_ *workspaceView, s *subject) *ast.Term { return numberTerm(s.Facts.LifetimeDays) },
		"idle_days":       func(_ *workspaceView, s *subject) *ast.Term { return numberTerm(s.Facts.IdleDays) },
		"used":            func(_ *workspaceView, s *subject) *ast.Term { return truthTerm(s.Facts.Used) },
		"expires_in_days": func(_ *workspaceView, s *subject) *ast.Term { return numberTerm(s.Facts.ExpiresInDays) },
		"never_expires":   func(_ *workspaceView, s *subject) *ast.Term { return truthTerm(s.Facts.NeverExpires) },
		"expired":         func(_ *workspaceView, s *subject) *ast.Term { return truthTerm(s.Facts.Expired) },
		"on_behalf":       func(_ *workspaceView, s *subject) *ast.Term { return truthTerm(s.Facts.OnBehalf) },

		"comment": func(_ *workspaceView, s *subject) *ast.Term { return ast.StringTerm(s.Token.Comment) },
		"autoscope_state": func(_ *workspaceView, s *subject) *ast.Term {
			return ast.StringTerm(engine.AutoscopeState(s.Token.AutoscopeState))
		},
		"scopes":          func(_ *workspaceView, s *subject) *ast.Term { return textsTerm(s.Token.Scopes) },
		"inferred_scopes": func(_ *workspaceView, s *subject) *ast.Term { return textsTerm(s.Token.InferredScopes) },
		"backfill_scopes": func(_ *workspaceView, s *subject) *ast.Term { return textsTerm(s.Token.BackfillScopes) },
	}
	addAmong(terms)
	for _, name := range []string{"comment", "autoscope_state", "scopes", "inferred_scopes", "backfill_scopes",
		"superseded_by", "superseded_by_created_at", "superseded_by_idle_days"} {
		terms[name] = unlessUnknown(name, terms[name])
	}
	return terms
}

// addAmong adds how a token stands among others.
func addAmong(terms map[string]fieldTerm) {
	standing := func(term func(v *workspaceView, a *engine.Among) *ast.Term) fieldTerm {
		return func(v *workspaceView, s *subject) *ast.Term {
			if s.Among == nil {
				return nil
			}
			return term(v, s.Among)
		}
	}
	superseded := func(term func(v *workspaceView, s *engine.Successor) *ast.Term) fieldTerm {
		return standing(func(v *workspaceView, a *engine.Among) *ast.Term {
			if a.Successor == nil {
				return nil
			}
			return term(v, a.Successor)
		})
	}
	// A log that has nothing of a token tells that it saw none of it.
	logged := func(term func(a engine.Activity) *ast.Term) fieldTerm {
		return standing(func(v *workspaceView, a *engine.Among) *ast.Term {
			switch {
			case !v.coverage(engine.SectionAuditLog).Usable():
				return nil
			case a.Activity == nil:
				return term(engine.Activity{})
			}
			return term(*a.Activity)
		})
	}
	event := func(a engine.Activity, ms int64) *ast.Term {
		if a.Events == 0 {
			return nil
		}
		return instantTerm(&ms)
	}
	terms["superseded_by"] = superseded(func(_ *workspaceView, s *engine.Successor) *ast.Term { return ast.StringTerm(s.ID) })
	terms["superseded_by_created_at"] = superseded(func(_ *workspaceView, s *engine.Successor) *ast.Term { return instantTerm(&s.Created) })
	terms["superseded_by_idle_days"] = superseded(func(v *workspaceView, s *engine.Successor) *ast.Term {
		days := engine.DaysSince(s.LastUsed, v.asOf)
		return numberTerm(&days)
	})
	terms["owner_expiring_near"] = standing(func(_ *workspaceView, a *engine.Among) *ast.Term { return numberTerm(a.OwnerExpiringNear) })
	terms["workspace_expiring_near"] = standing(func(_ *workspaceView, a *engine.Among) *ast.Term { return numberTerm(a.WorkspaceExpiringNear) })
	terms["in_previous_snapshot"] = standing(func(_ *workspaceView, a *engine.Among) *ast.Term { return truthTerm(a.InPrevious) })
	terms["first_seen_at"] = standing(func(_ *workspaceView, a *engine.Among) *ast.Term { return instantTerm(a.FirstSeen) })
	terms["audit_events"] = logged(func(a engine.Activity) *ast.Term { return numberTerm(&a.Events) })
	terms["audit_max_ips_per_day"] = logged(func(a engine.Activity) *ast.Term { return numberTerm(&a.MaxIPsPerDay) })
	terms["audit_user_agents"] = logged(func(a engine.Activity) *ast.Term { return textsTerm(a.UserAgents) })
	terms["audit_first_event_at"] = logged(func(a engine.Activity) *ast.Term { return event(a, a.First) })
	terms["audit_last_event_at"] = logged(func(a engine.Activity) *ast.Term { return event(a, a.Last) })
}

// partyTerms builds the fields of input.owner or input.creator.
func partyTerms(of func(*subject) engine.Party) map[string]fieldTerm {
	known := func(term func(p engine.Party) *ast.Term) fieldTerm {
		return func(v *workspaceView, s *subject) *ast.Term {
			p := of(s)
			if !knownParty(p, v.wholeDirectory()) {
				return nil
			}
			return term(p)
		}
	}
	return map[string]fieldTerm{
		"id":           func(_ *workspaceView, s *subject) *ast.Term { return knownTerm(of(s).ID) },
		"kind":         known(func(p engine.Party) *ast.Term { return ast.InternedTerm(string(p.Kind)) }),
		"name":         known(func(p engine.Party) *ast.Term { return ast.StringTerm(p.Name) }),
		"display_name": known(func(p engine.Party) *ast.Term { return ast.StringTerm(p.DisplayName) }),
		"active":       known(func(p engine.Party) *ast.Term { return truthTerm(p.Active) }),
		"admin":        known(func(p engine.Party) *ast.Term { return truthTerm(p.Admin) }),
		"groups": func(v *workspaceView, s *subject) *ast.Term {
			p := of(s)
			if !knownParty(p, v.wholeDirectory()) || !v.wholeGroups() && p.Kind != engine.Missing {
				return nil
			}
			return textsTerm(p.Groups)
		},
		"live_tokens": known(func(p engine.Party) *ast.Term { return ast.IntNumberTerm(p.LiveTokens) }),
	}
}

func knownTerm(text string) *ast.Term {
	if text == "" {
		return nil
	}
	return ast.StringTerm(text)
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

func instantTerm(ms *int64) *ast.Term {
	if ms == nil || *ms == engine.NeverExpires {
		return nil
	}
	return ast.StringTerm(rfc3339(time.UnixMilli(*ms)))
}

func finiteTerm(ms *int64) *ast.Term {
	if ms == nil || *ms == engine.NeverExpires {
		return nil
	}
	return numberTerm(ms)
}
