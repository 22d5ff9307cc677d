package engine

import "strings"

// factReader reads one fact of a token as policies see it, as one type; absent
// tells that there is none. What is unknown reads as absent, too.
type factReader struct {
	number func(*Subject) *int64
	truth  func(*Subject) *bool
	text   func(*Subject) (text string, absent bool)
	list   func(*Subject) []string
}

// readFact finds the reader of a fact; ok is false for one that only a policy
// can read. The instant is in ms.
func readFact(name Fact, asOf int64) (r factReader, ok bool) {
	if field, of := strings.CutPrefix(string(name), "owner."); of {
		return partyFact(field, func(s *Subject) *Party { return &s.Owner })
	}
	if field, of := strings.CutPrefix(string(name), "creator."); of {
		return partyFact(field, func(s *Subject) *Party { return &s.Creator })
	}
	for _, read := range []func(Fact) factReader{tokenNumber, tokenTruth, tokenText, tokenList} {
		if r := read(name); r.some() {
			return r, true
		}
	}
	r = amongFact(name, asOf)
	return r, r.some()
}

func (r factReader) some() bool {
	return r.number != nil || r.truth != nil || r.text != nil || r.list != nil
}

func tokenNumber(name Fact) (r factReader) {
	switch name {
	case "created_ms":
		r.number = func(s *Subject) *int64 { return s.Token.Created }
	case "expires_ms":
		r.number = func(s *Subject) *int64 { return finite(s.Token.Expires) }
	case "last_used_ms":
		r.number = func(s *Subject) *int64 { return s.Token.LastUsed }
	case "age_days":
		r.number = func(s *Subject) *int64 { return s.Facts.AgeDays }
	case "lifetime_days":
		r.number = func(s *Subject) *int64 { return s.Facts.LifetimeDays }
	case "idle_days":
		r.number = func(s *Subject) *int64 { return s.Facts.IdleDays }
	case "expires_in_days":
		r.number = func(s *Subject) *int64 { return s.Facts.ExpiresInDays }
	}
	return r
}

func finite(ms *int64) *int64 {
	if ms == nil || *ms == NeverExpires {
		return nil
	}
	return ms
}

func tokenTruth(name Fact) (r factReader) {
	switch name {
	case "used":
		r.truth = func(s *Subject) *bool { return s.Facts.Used }
	case "never_expires":
		r.truth = func(s *Subject) *bool { return s.Facts.NeverExpires }
	case "expired":
		r.truth = func(s *Subject) *bool { return s.Facts.Expired }
	case "on_behalf":
		r.truth = func(s *Subject) *bool { return s.Facts.OnBehalf }
	}
	return r
}

func tokenText(name Fact) (r factReader) {
	switch name {
	case "id":
		r.text = func(s *Subject) (string, bool) { return s.Token.ID, false }
	case "comment":
		r.text = func(s *Subject) (string, bool) { return s.Token.Comment, false }
	case "owner_id":
		r.text = func(s *Subject) (string, bool) { return s.Token.OwnerID, s.Token.OwnerID == "" }
	case "creator_id":
		r.text = func(s *Subject) (string, bool) { return s.Token.CreatorID, s.Token.CreatorID == "" }
	case "creator_name":
		r.text = func(s *Subject) (string, bool) { return s.Token.CreatorName, s.Token.CreatorName == "" }
	case "autoscope_state":
		r.text = func(s *Subject) (string, bool) { return AutoscopeState(s.Token.AutoscopeState), false }
	}
	return r
}

func tokenList(name Fact) (r factReader) {
	switch name {
	case "scopes":
		r.list = func(s *Subject) []string { return s.Token.Scopes }
	case "inferred_scopes":
		r.list = func(s *Subject) []string { return s.Token.InferredScopes }
	case "backfill_scopes":
		r.list = func(s *Subject) []string { return s.Token.BackfillScopes }
	}
	return r
}

// partyFact reads a fact of an owner or creator that the directory knows.
func partyFact(name string, of func(*Subject) *Party) (r factReader, ok bool) {
	switch name {
	case "id":
		r.text = func(s *Subject) (string, bool) { return of(s).ID, of(s).ID == "" }
	case "kind":
		r.text = func(s *Subject) (string, bool) { return string(of(s).Kind), of(s).Kind == "" }
	case "name":
		r.text = func(s *Subject) (string, bool) { return of(s).Name, of(s).Kind == "" }
	case "display_name":
		r.text = func(s *Subject) (string, bool) { return of(s).DisplayName, of(s).Kind == "" }
	case "active":
		r.truth = func(s *Subject) *bool { return of(s).Active }
	case "admin":
		r.truth = func(s *Subject) *bool { return of(s).Admin }
	case "groups":
		r.list = func(s *Subject) []string { return of(s).Groups }
	case "live_tokens":
		r.number = func(s *Subject) *int64 { return ptr(int64(of(s).LiveTokens)) }
	}
	return r, r.some()
}

// amongFact reads how a token stands among others.
func amongFact(name Fact, asOf int64) (r factReader) {
	switch name {
	case "superseded_by":
		r.text = succeeded(func(s *Successor) string { return s.ID })
	case "superseded_by_idle_days":
		r.number = func(s *Subject) *int64 {
			if s.Among == nil || s.Among.Successor == nil {
				return nil
			}
			return ptr(DaysSince(s.Among.Successor.LastUsed, asOf))
		}
	case "owner_expiring_near":
		r.number = stands(func(a *Among) *int64 { return a.OwnerExpiringNear })
	case "workspace_expiring_near":
		r.number = stands(func(a *Among) *int64 { return a.WorkspaceExpiringNear })
	case "in_previous_snapshot":
		r.truth = func(s *Subject) *bool {
			if s.Among == nil {
				return nil
			}
			return s.Among.InPrevious
		}
	case "audit_events":
		r.number = stands(func(a *Among) *int64 { return ptr(a.logged().Events) })
	case "audit_max_ips_per_day":
		r.number = stands(func(a *Among) *int64 { return ptr(a.logged().MaxIPsPerDay) })
	case "audit_user_agents":
		r.list = func(s *Subject) []string {
			if s.Among == nil {
				return nil
			}
			return s.Among.logged().UserAgents
		}
	}
	return r
}

func succeeded(read func(*Successor) string) func(*Subject) (string, bool) {
	return func(s *Subject) (string, bool) {
		if s.Among == nil || s.Among.Successor == nil {
			return "", true
		}
		return read(s.Among.Successor), false
	}
}

func stands(read func(*Among) *int64) func(*Subject) *int64 {
	return func(s *Subject) *int64 {
		if s.Among == nil {
			return nil
		}
		return read(s.Among)
	}
}

// logged is what the log tells; a log that has nothing of a token saw none of it.
func (a *Among) logged() Activity {
	if a.Activity == nil {
		return Activity{}
	}
	return *a.Activity
}

// AutoscopeState is the platform's word for how a token is scoped by itself, as
// policies see it.
func AutoscopeState(text string) string {
	state := strings.ToLower(strings.TrimPrefix(text, "AUTOSCOPE_STATE_"))
	if state == "unspecified" {
		return ""
	}
	return state
}
