package collectors

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"patrol/engine"
)

// The reasons of sections that contradict what else is known.
const (
	reasonOwnMissing     = "own_token_missing"
	reasonCallerMissing  = "caller_missing"
	reasonCallerInactive = "caller_inactive"
	reasonCallerNoAdmin  = "caller_not_in_admins"
	reasonUnlistedGroup  = "unlisted_group"
	reasonOwnersMissing  = "owners_missing"
	reasonOwnersInactive = "owners_inactive"
	reasonMembersMissing = "members_missing"
	reasonTokenWorks     = "token_works"
	reasonTokensOfOthers = "tokens_of_non_admins"
	reasonShrunk         = "shrunk"
)

// evidence is what sections tell beyond their rows, each written by one of them.
type evidence struct {
	tokenInUse string // id of the token that signs in, if ids are derived as they seem to be; "" without one
	seen       tokensSeen
	rows       []rowRef // of the list of all tokens, by id
	people     *people
	groups     []group
}

// judge asks of each section that is whole by itself whether it can be true, after
// all else that is known of the workspace, and joins what several sections tell
// together. What is not believed is no evidence against anything that is asked later.
func (s *session) judge(sections map[engine.SectionName]engine.Section) {
	switchedOff(sections)
	usable := func(name engine.SectionName) bool { return sections[name].Coverage.Usable() }
	doubt := func(name engine.SectionName, reason, format string, args ...any) {
		section := failed(implausible(reason, format, args...))
		section.Coverage.Count = sections[name].Coverage.Count
		sections[name] = section
	}
	caller := engine.SafeText(s.me.Name) + " (" + engine.SafeText(s.me.ID) + ")"
	if usable(engine.SectionTokens) {
		missing := s.seen.missing()
		if s.me.AuthType == "pat" && sections[engine.SectionTokens].Coverage.Count == 0 {
			doubt(engine.SectionTokens, reasonOwnMissing, "own token missing: the list is empty, though patrol signed in with a token of this workspace")
		} else if len(missing) > 0 {
			inUse := ""
			if slices.Contains(missing, s.tokenInUse) {
				inUse = ", among them the one that patrol signed in with"
			}
			doubt(engine.SectionTokens, reasonOwnMissing, "own token missing: the list lacks %d of the %d tokens that the caller has by its own list%s",
				len(missing), len(s.seen.own), inUse)
		}
		for _, id := range engine.SortedKeys(s.seen.workspaces) {
			if s.me.workspaceID != "" && id != s.me.workspaceID && id != "0" && id != "" {
				doubt(engine.SectionTokens, reasonWrongWorkspace, "the list has tokens of workspace %s, but patrol signed in to workspace %s", engine.SafeText(cut([]byte(id))), engine.SafeText(s.me.workspaceID))
				break
			}
		}
	}
	if usable(engine.SectionTokens) && s.me.AuthType == "pat" && tokensOff(sections) {
		doubt(engine.SectionSettings, reasonTokenWorks, "enableTokensConfig is said to be false, but patrol signed in with a token, and tokens are listed")
	}
	if usable(engine.SectionPrincipals) {
		known := map[string]*person{}
		for i, p := range s.people.rows {
			known[p.ID] = &s.people.rows[i]
		}
		me := known[s.me.ID]
		recent, missing, inactive := 0, 0, 0 // owners whose tokens were used a moment ago
		for owner, used := range s.seen.owners {
			if used {
				recent++
				switch p := known[owner]; {
				case p == nil:
					missing++
				case p.Active != nil && !*p.Active:
					inactive++
				}
			}
		}
		few := func(n int) bool { return n < 2 || 5*n < recent && (n < 3 || 8*n < recent) } // they may have left this morning
		switch {
		case s.me.ID != "" && me == nil:
			doubt(engine.SectionPrincipals, reasonCallerMissing,
				"caller missing: %s, as whom patrol signed in, is neither among the %d users nor among the %d service principals",
				caller, s.people.counts[engine.User], s.people.counts[engine.ServicePrincipal])
		case s.me.ID != "" && me.Active != nil && !*me.Active:
			doubt(engine.SectionPrincipals, reasonCallerInactive, "%s is said to be inactive, but patrol signed in as it", caller)
		case s.me.ID != "" && s.me.Name != "" && me.Kind != "" && me.Kind != s.me.Kind:
			doubt(engine.SectionPrincipals, reasonCallerMissing, "%s, as whom patrol signed in, is a %s, and is listed as a %s", caller, s.me.Kind, me.Kind)
		case usable(engine.SectionTokens) && !few(missing):
			doubt(engine.SectionPrincipals, reasonOwnersMissing,
				"%d of the %d owners whose tokens were used yesterday or today are not in the directory: who does not exist cannot use a token", missing, recent)
		case usable(engine.SectionTokens) && !few(inactive):
			doubt(engine.SectionPrincipals, reasonOwnersInactive,
				"%d of the %d owners whose tokens were used yesterday or today are said to be inactive: who is inactive cannot use a token", inactive, recent)
		case usable(engine.SectionGroups):
			for _, list := range []string{"Users", "ServicePrincipals"} {
				if members, listed := s.membersOf(list); members > 0 && listed == 0 && usable(engine.SectionPrincipals) {
					doubt(engine.SectionPrincipals, reasonMembersMissing,
						"groups have %d members from %s, and the list %s has none of them", members, list, list)
				}
			}
		}
	}
	if usable(engine.SectionGroups) {
		empty := slices.IndexFunc(s.groups, func(g group) bool { return strings.EqualFold(g.name, adminsGroup) && len(g.members) == 0 })
		switch {
		case empty >= 0:
			doubt(engine.SectionGroups, reasonCallerNoAdmin, "group %s (%s) has no members: every workspace has an admin",
				engine.SafeText(s.groups[empty].name), engine.SafeText(s.groups[empty].id))
		case s.me.Admin && !s.inAdmins(s.me.ID):
			doubt(engine.SectionGroups, reasonCallerNoAdmin,
				"%s is an admin, but is in no group admins that the %d groups tell of", engine.SafeText(s.me.Name), len(s.groups))
		case s.unlisted() != "":
			doubt(engine.SectionGroups, reasonUnlistedGroup,
				"a member of group %s is a group that no list has: who is in it is not known", engine.SafeText(s.unlisted()))
		}
	}
	if usable(engine.SectionGrants) {
		s.join(sections)
		if contradiction := s.usedWithoutRight(sections); contradiction != "" {
			doubt(engine.SectionGrants, reasonTokensOfOthers, "%s", contradiction)
		}
	}
	for section, kind := range map[engine.SectionName]string{
		engine.SectionSecrets: "secret ", engine.SectionFederation: "federation policy ", engine.SectionOAuthApps: "OAuth app ", engine.SectionRecipients: "recipient ",
	} {
		var rows []struct {
			ID    string `json:"id"`
			Name  string `json:"name"` // of a recipient, which has no id
			Owner string `json:"service_principal_id"`
		}
		if !usable(section) || json.Unmarshal(sections[section].Document, &rows) != nil {
			continue
		}
		seen := map[string]bool{}
		for _, row := range rows {
			what := kind + cmp.Or(row.ID, row.Name)
			if section == engine.SectionSecrets {
				what += " of service principal " + row.Owner
			}
			if seen[what] { // which of the two holds is not known
				doubt(section, reasonDuplicateID, "%s is listed twice", engine.SafeText(what))
				break
			}
			seen[what] = true
		}
	}
	s.addMembers(sections)
	s.join(sections)
}

// onlyAdmins reports whether by the grants nobody but admins may use tokens.
func onlyAdmins(sections map[engine.SectionName]engine.Section) (grants engine.Grants, only bool) {
	if json.Unmarshal(sections[engine.SectionGrants].Document, &grants) != nil {
		return nil, false
	}
	return grants, !slices.ContainsFunc(grants, func(g engine.Grant) bool { return g.Kind != "group" || !strings.EqualFold(g.Principal, adminsGroup) })
}

// unconfirmed says why it is not known whether somebody uses tokens who may not.
func unconfirmed(sections map[engine.SectionName]engine.Section) string {
	if _, only := onlyAdmins(sections); only {
		for _, name := range []engine.SectionName{engine.SectionTokens, engine.SectionPrincipals, engine.SectionGroups} {
			if c := sections[name].Coverage; !c.Usable() && c.Status != engine.Off {
				return fmt.Sprintf("by its permissions on tokens only admins may use tokens; whether others do is not known, because %s are %s", name, c.Status)
			}
		}
	}
	return ""
}

// usedWithoutRight reports people who use tokens though only admins may. Where
// the grants name nobody at all, having tokens says it already.
func (s *session) usedWithoutRight(sections map[engine.SectionName]engine.Section) string {
	grants, only := onlyAdmins(sections)
	if !only {
		return ""
	}
	if reason := unconfirmed(sections); reason != "" {
		return reason
	}
	var using []engine.Principal
	unsure := 0
	for _, p := range sections[engine.SectionPrincipals].Principals {
		switch uses := s.seen.live[p.ID] > 0 && (s.seen.owners[p.ID] || len(grants) == 0); {
		case uses && p.Admin == nil:
			unsure++
		case uses && !*p.Admin:
			using = append(using, p)
		}
	}
	switch n := len(using); {
	case n+unsure > 1 && n < 2:
		return fmt.Sprintf("by its permissions on tokens only admins may use tokens; whether %d people who use some are admins is not known", unsure)
	case len(grants) == 0 && n > 0:
		return fmt.Sprintf("by its permissions on tokens only admins could use tokens, but %s, who is none, has %d that are live", engine.SafeText(cmp.Or(using[0].Name, using[0].ID)), s.seen.live[using[0].ID])
	case n > 1: // of one, the right may have been taken this morning
		return fmt.Sprintf("by its permissions on tokens only admins may use tokens, but those of %d others were used yesterday or today, as by %s: if the right was taken from them since, read again in two days",
			n, engine.SafeText(cmp.Or(using[0].Name, using[0].ID)))
	}
	return ""
}

// join tells everybody's groups, nested ones included, and who is an admin. That
// somebody is none is known only where groups were read whole.
func (s *session) join(sections map[engine.SectionName]engine.Section) {
	section := sections[engine.SectionPrincipals]
	if !section.Coverage.Usable() {
		return
	}
	whole := sections[engine.SectionGroups].Coverage.Complete()
	m := newMembership(s.people.rows, s.groups)
	for i, p := range s.people.rows {
		row := &section.Principals[i]
		row.Groups, row.Admin = m.groupsOf(p.ID), nil
		switch {
		case slices.Contains(row.Groups, adminsGroup):
			row.Admin = new(true)
		case whole && !p.unsure:
			row.Admin = new(false)
		}
	}
}

// addMembers adds owners and creators of tokens who are in admins and in no list:
// they exist, and nothing else of them is known. They would be called missing.
func (s *session) addMembers(sections map[engine.SectionName]engine.Section) {
	section := sections[engine.SectionPrincipals]
	if !section.Coverage.Whole() || !sections[engine.SectionGroups].Coverage.Usable() {
		return
	}
	known := map[string]bool{}
	for _, g := range s.groups {
		known[g.id] = true
	}
	for _, p := range s.people.rows {
		known[p.ID] = true
	}
	m := newMembership(nil, s.groups)
	for _, g := range s.groups {
		for _, ref := range g.members {
			kind := engine.Kind("")
			if ref.of("Users") {
				kind = engine.User
			} else if ref.of("ServicePrincipals") {
				kind = engine.ServicePrincipal
			}
			_, matters := s.seen.owners[ref.Value]
			if known[ref.Value] || !matters || !slices.Contains(m.groupsOf(ref.Value), adminsGroup) {
				continue
			}
			known[ref.Value] = true
			s.people.add(reasonMissing, "%s, a member of group %s, is in no list", engine.SafeText(ref.Value), engine.SafeText(cmp.Or(g.name, g.id)))
			s.people.rows = append(s.people.rows, person{Principal: engine.Principal{ID: ref.Value, Kind: kind, Raw: document(ref)}})
		}
	}
	if len(s.people.rows) == len(section.Principals) {
		return
	}
	slices.SortFunc(s.people.rows, func(a, b person) int { return strings.Compare(a.ID, b.ID) })
	section.Principals = s.people.principals()
	section.Coverage = s.people.coverage(len(section.Principals))
	sections[engine.SectionPrincipals] = section
}

// inAdmins reports whether the groups tell that a principal is in admins,
// directly or through groups.
func (e *evidence) inAdmins(id string) bool {
	m := newMembership(nil, e.groups)
	return slices.ContainsFunc(m.parents[id], func(group string) bool {
		return slices.ContainsFunc(m.above(group), func(above string) bool { return m.names[above] == adminsGroup })
	})
}

// membersOf counts the principals that groups have from a list, and how many of them
// the directory has.
func (e *evidence) membersOf(list string) (members, listed int) {
	ids := map[string]bool{}
	for _, g := range e.groups {
		for _, m := range g.members {
			if m.of(list) {
				ids[m.Value] = true
			}
		}
	}
	for _, p := range e.people.rows {
		if ids[p.ID] && (p.Kind == "" || (p.Kind == engine.User) == (list == "Users")) {
			listed++
		}
	}
	return len(ids), listed
}

// unlisted is a group that has a group as member that no list has; "" for none.
func (e *evidence) unlisted() string {
	listed := map[string]bool{}
	for _, g := range e.groups {
		listed[g.id] = true
	}
	if e.people != nil {
		for _, p := range e.people.rows {
			listed[p.ID] = true
		}
	}
	for _, g := range e.groups {
		if slices.ContainsFunc(g.members, func(m reference) bool { return !listed[m.Value] && (m.of("Groups") || m.Ref == "" && e.people != nil) }) {
			return cmp.Or(g.name, g.id)
		}
	}
	return ""
}

// switchedOff knows tokens to be off where the workspace's settings say so and
// the calls for tokens answer that the feature is disabled.
func switchedOff(sections map[engine.SectionName]engine.Section) {
	if !tokensOff(sections) {
		return
	}
	for _, name := range []engine.SectionName{engine.SectionTokens, engine.SectionGrants} {
		if c := sections[name].Coverage; c.Status == engine.Disabled && c.Reason == reasonFeatureDisabled {
			sections[name] = engine.Section{Coverage: engine.Coverage{Status: engine.Off,
				Detail: "tokens are off in this workspace (enableTokensConfig is false); none can be used until they are on again"}}
		}
	}
}

// tokensOff reports whether the settings say that tokens are off.
func tokensOff(sections map[engine.SectionName]engine.Section) bool {
	var settings engine.Settings
	if json.Unmarshal(sections[engine.SectionSettings].Document, &settings) != nil {
		return false
	}
	setting, read := settings["enableTokensConfig"]
	on, known := engine.ParseSwitch(setting.Value, true)
	return read && setting.Problem == "" && known && !on
}

// tokensSeen is what is noted of tokens while their list is read.
type tokensSeen struct {
	yesterday, now int64
	own            map[string]bool // ids of the caller's live tokens, by its own list: whether they are there
	owners         map[string]bool // and creators: whether a token that they own was used yesterday or today
	live           map[string]int  // tokens that have not expired, by owner
	// What rows hold that this patrol does not know: the platform has learned something,
	// or the answer comes from somewhere else. The rows keep it as it came.
	unknown    map[string]bool
	workspaces map[string]bool // that rows name as theirs
}

const mostUnknown = 50 // are gathered: a row may have any number of fields

func newTokensSeen(now time.Time, own []string) tokensSeen {
	s := tokensSeen{
		now: now.UnixMilli(), yesterday: now.UTC().Truncate(24*time.Hour).UnixMilli() - engine.Day,
		own: map[string]bool{}, owners: map[string]bool{}, live: map[string]int{}, unknown: map[string]bool{}, workspaces: map[string]bool{},
	}
	for _, id := range own {
		s.own[id] = false
	}
	return s
}

// missing are the caller's own tokens that the list of all tokens lacks.
func (s *tokensSeen) missing() (ids []string) {
	for id, listed := range s.own {
		if !listed {
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *tokensSeen) note(o object, t engine.Token) {
	add := func(what string) {
		if len(s.unknown) < mostUnknown {
			s.unknown[engine.SafeText(cut([]byte(what)))] = true
		}
	}
	for key := range o.members {
		switch key {
		case "token_id", "comment", "creation_time", "expiry_time", "last_used_day", "owner_id", "created_by_id", "created_by_username",
			"scopes", "autoscope_state", "inferred_scopes", "backfill_scopes", workspaceIDKey, workspaceNameKey, ownerNameKey, neverUsedKey, ownDefectsKey:
		default:
			add("field " + key)
		}
	}
	if engine.AutoscopeState(t.AutoscopeState) == nil {
		add("autoscope_state " + t.AutoscopeState)
	}
	if _, own := s.own[t.ID]; own {
		s.own[t.ID] = true
	}
	if _, known := s.owners[t.CreatorID]; !known && t.CreatorID != "" {
		s.owners[t.CreatorID] = false
	}
	if t.OwnerID == "" {
		return
	}
	s.owners[t.OwnerID] = s.owners[t.OwnerID] || t.LastUsed != nil && *t.LastUsed >= s.yesterday
	if t.Expires != nil && (*t.Expires == engine.NeverExpires || *t.Expires > s.now) {
		s.live[t.OwnerID]++
	}
}

// Counts are how many rows the lists of a snapshot have that must not shrink
// unnoticed.
type Counts map[engine.SectionName]int

// The lists within the section of principals.
const (
	ListUsers             engine.SectionName = "users"
	ListServicePrincipals engine.SectionName = "service_principals"
)

// Shrinkable are the lists that are held against the snapshot before.
func Shrinkable() []engine.SectionName {
	return []engine.SectionName{engine.SectionTokens, ListUsers, ListServicePrincipals, engine.SectionGroups, engine.SectionAccountPrincipals}
}

// CountsOf reads the counts of what was read whole.
func CountsOf(coverage map[engine.SectionName]engine.Coverage, documents map[engine.SectionName]json.RawMessage) Counts {
	counts := Counts{}
	for _, name := range []engine.SectionName{engine.SectionTokens, engine.SectionGroups} {
		if c := coverage[name]; c.Whole() {
			counts[name] = c.Count
		}
	}
	var told struct {
		Users    *int `json:"users"`
		Services *int `json:"service_principals"`
	}
	if coverage[engine.SectionPrincipals].Whole() && json.Unmarshal(documents[engine.SectionPrincipals], &told) == nil && told.Users != nil && told.Services != nil {
		counts[ListUsers], counts[ListServicePrincipals] = *told.Users, *told.Services
	}
	var account engine.AccountPrincipals
	if coverage[engine.SectionAccountPrincipals].Whole() && json.Unmarshal(documents[engine.SectionAccountPrincipals], &account) == nil && account.Total > 0 {
		counts[engine.SectionAccountPrincipals] = account.Total
	}
	return counts
}

// HoldAgainst does not believe lists of a capture that are far shorter than they
// were in the snapshots before, unless that is accepted: an answer that lost rows
// looks exactly so.
func HoldAgainst(capture engine.Capture, before Counts, accepted []engine.SectionName) {
	coverage, documents := map[engine.SectionName]engine.Coverage{}, map[engine.SectionName]json.RawMessage{}
	for name, section := range capture.Sections {
		coverage[name], documents[name] = section.Coverage, section.Document
	}
	counts := CountsOf(coverage, documents)
	for _, list := range Shrinkable() {
		was, now := before[list], counts[list]
		if _, read := counts[list]; !read || slices.Contains(accepted, list) || !engine.Shrunk(was, now) {
			continue
		}
		problem := implausible(reasonShrunk, "%s: %d rows, where the snapshot before had %d: whether some are missing from the answer is not known", list, now, was)
		problem.Hint = fmt.Sprintf("Look at the list in the workspace. If it is as it should be, read again with --accept-shrink %s.", list)
		section := list
		if list == ListUsers || list == ListServicePrincipals {
			section = engine.SectionPrincipals
		}
		c := problem.Coverage
		c.Count = coverage[section].Count
		capture.Sections[section] = engine.Section{Coverage: c}
	}
	if reason := unconfirmed(capture.Sections); reason != "" {
		capture.Sections[engine.SectionGrants] = failed(implausible(reasonTokensOfOthers, "%s", reason))
	}
}
