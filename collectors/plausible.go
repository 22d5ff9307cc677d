package collectors

import (
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
	reasonMembersMissing = "members_missing"
	reasonTokensOfOthers = "tokens_of_non_admins"
	reasonShrunk         = "shrunk"
)

// plausibility is a question to an answer that is whole by itself: can it be
// true, after all else that is known of the workspace?
type plausibility struct {
	section engine.SectionName   // what is not believed where it cannot be
	reason  string               // stable word
	needs   []engine.SectionName // asked only where these were read, too
	ask     func(*session, map[engine.SectionName]engine.Section) string
}

// evidence is what sections tell beyond their rows, each written by one of them.
type evidence struct {
	own        []string // ids of the caller's live tokens, by its own list
	ownMissing []string // those that the list of all tokens lacks
	tokenInUse string   // id of the token that signs in, if ids are derived as they seem to be; "" without one
	seen       tokensSeen
	rows       []rowRef // of the list of all tokens, by id
	people     *people
	groups     []group
}

// plausibilities are all questions, in the order in which they are asked. What
// is not believed is no evidence against anything that is asked later.
func plausibilities() []plausibility {
	return []plausibility{
		{engine.SectionTokens, reasonOwnMissing, nil, func(s *session, sections map[engine.SectionName]engine.Section) string {
			if s.me.AuthType == "pat" && sections[engine.SectionTokens].Coverage.Count == 0 {
				return "own token missing: the list is empty, though patrol signed in with a token of this workspace"
			}
			if len(s.ownMissing) == 0 {
				return ""
			}
			text := fmt.Sprintf("own token missing: the list lacks %d of the %d tokens that the caller has by its own list", len(s.ownMissing), len(s.own))
			if slices.Contains(s.ownMissing, s.tokenInUse) {
				text += ", among them the one that patrol signed in with"
			}
			return text
		}},
		{engine.SectionPrincipals, reasonCallerMissing, nil, func(s *session, sections map[engine.SectionName]engine.Section) string {
			if s.me.ID == "" || slices.ContainsFunc(s.people.rows, func(p person) bool { return p.ID == s.me.ID }) {
				return ""
			}
			return fmt.Sprintf("caller missing: %s (%s), as whom patrol signed in, is neither among the %d users nor among the %d service principals",
				engine.SafeText(s.me.Name), engine.SafeText(s.me.ID), s.people.counts[engine.User], s.people.counts[engine.ServicePrincipal])
		}},
		{engine.SectionPrincipals, reasonCallerInactive, nil, func(s *session, sections map[engine.SectionName]engine.Section) string {
			for _, p := range s.people.rows {
				if s.me.ID != "" && p.ID == s.me.ID && p.Active != nil && !*p.Active {
					return fmt.Sprintf("%s (%s) is said to be inactive, but patrol signed in as it", engine.SafeText(s.me.Name), engine.SafeText(s.me.ID))
				}
			}
			return ""
		}},
		{engine.SectionPrincipals, reasonOwnersMissing, []engine.SectionName{engine.SectionTokens}, func(s *session, sections map[engine.SectionName]engine.Section) string {
			known, recent, missing := map[string]bool{}, 0, 0
			for _, p := range s.people.rows {
				known[p.ID] = true
			}
			for owner, used := range s.seen.owners {
				if used {
					recent++
					if !known[owner] {
						missing++
					}
				}
			}
			if fewLeft := missing < 2 || 5*missing < recent && (missing < 3 || 8*missing < recent); fewLeft {
				return ""
			}
			return fmt.Sprintf("%d of the %d owners whose tokens were used yesterday or today are not in the directory: who does not exist cannot use a token", missing, recent)
		}},
		{engine.SectionPrincipals, reasonMembersMissing, []engine.SectionName{engine.SectionGroups}, func(s *session, sections map[engine.SectionName]engine.Section) string {
			for _, list := range []string{"Users", "ServicePrincipals"} {
				if members, listed := s.membersOf(list + "/"); members > 0 && listed == 0 {
					return fmt.Sprintf("groups have %d members from %s, and the list %s has none of them", members, list, list)
				}
			}
			return ""
		}},
		{engine.SectionGroups, reasonCallerNoAdmin, nil, func(s *session, sections map[engine.SectionName]engine.Section) string {
			for _, g := range s.groups {
				if strings.EqualFold(g.name, adminsGroup) && len(g.members) == 0 {
					return fmt.Sprintf("group %s (%s) has no members: every workspace has an admin", engine.SafeText(g.name), engine.SafeText(g.id))
				}
			}
			if !s.me.Admin || s.inAdmins(s.me.ID) {
				return ""
			}
			return fmt.Sprintf("%s is an admin, but is in no group admins that the %d groups tell of", engine.SafeText(s.me.Name), len(s.groups))
		}},
		{engine.SectionGroups, reasonUnlistedGroup, nil, func(s *session, sections map[engine.SectionName]engine.Section) string {
			for _, name := range s.unlisted() {
				return fmt.Sprintf("a member of group %s is a group that no list has: who is in it is not known", engine.SafeText(name))
			}
			return ""
		}},
		{engine.SectionGrants, reasonTokensOfOthers, nil, func(s *session, sections map[engine.SectionName]engine.Section) string {
			s.join(sections)
			return s.usedWithoutRight(sections)
		}},
		listedTwice(engine.SectionSecrets, func(row engine.Secret) string { return "secret " + row.ID + " of service principal " + row.OwnerID }),
		listedTwice(engine.SectionFederation, func(row engine.FederationPolicy) string { return "federation policy " + row.ID }),
		listedTwice(engine.SectionOAuthApps, func(row engine.OAuthApp) string { return "OAuth app " + row.ID }),
		listedTwice(engine.SectionRecipients, func(row engine.Recipient) string { return "recipient " + row.Name }),
	}
}

// listedTwice asks whether two rows of a section are about one thing, named by
// name: which of them holds is not known.
func listedTwice[T any](section engine.SectionName, name func(T) string) plausibility {
	return plausibility{section, reasonDuplicateID, nil, func(_ *session, sections map[engine.SectionName]engine.Section) string {
		var rows []T
		if err := json.Unmarshal(sections[section].Document, &rows); err != nil {
			return err.Error()
		}
		seen := map[string]bool{}
		for _, row := range rows {
			if seen[name(row)] {
				return engine.SafeText(name(row)) + " is listed twice"
			}
			seen[name(row)] = true
		}
		return ""
	}}
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
		return fmt.Sprintf("by its permissions on tokens only admins could use tokens, but %s, who is none, has %d that are live", engine.SafeText(firstOf(using[0].Name, using[0].ID)), s.seen.live[using[0].ID])
	case n > 1: // of one, the right may have been taken this morning
		return fmt.Sprintf("by its permissions on tokens only admins may use tokens, but those of %d others were used yesterday or today, as by %s: if the right was taken from them since, read again in two days",
			n, engine.SafeText(firstOf(using[0].Name, using[0].ID)))
	}
	return ""
}

// judge asks all questions and joins what several sections tell together.
func (s *session) judge(sections map[engine.SectionName]engine.Section) {
	switchedOff(sections)
	usable := func(name engine.SectionName) bool { return sections[name].Coverage.Usable() }
	for _, p := range plausibilities() {
		if !usable(p.section) || slices.ContainsFunc(p.needs, func(name engine.SectionName) bool { return !usable(name) }) {
			continue
		}
		if contradiction := p.ask(s, sections); contradiction != "" {
			section := failed(implausible(p.reason, "%s", contradiction))
			section.Coverage.Count = sections[p.section].Coverage.Count
			sections[p.section] = section
		}
	}
	s.addMembers(sections)
	s.join(sections)
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
			switch {
			case strings.HasPrefix(ref.Ref, "Users/"), strings.Contains(ref.Ref, "/Users/"):
				kind = engine.User
			case strings.HasPrefix(ref.Ref, "ServicePrincipals/"), strings.Contains(ref.Ref, "/ServicePrincipals/"):
				kind = engine.ServicePrincipal
			}
			_, matters := s.seen.owners[ref.Value]
			if known[ref.Value] || !matters || !slices.Contains(m.groupsOf(ref.Value), adminsGroup) {
				continue
			}
			known[ref.Value] = true
			s.people.add(reasonMissing, "%s, a member of group %s, is in no list", engine.SafeText(ref.Value), engine.SafeText(firstOf(g.name, g.id)))
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
	for _, group := range m.parents[id] {
		for _, above := range m.above(group) {
			if m.names[above] == adminsGroup {
				return true
			}
		}
	}
	return false
}

// membersOf counts the principals whose references in groups begin so, and how
// many of them the directory has.
func (e *evidence) membersOf(path string) (members, listed int) {
	ids := map[string]bool{}
	for _, g := range e.groups {
		for _, m := range g.members {
			if strings.HasPrefix(m.Ref, path) || strings.Contains(m.Ref, "/"+path) {
				ids[m.Value] = true
			}
		}
	}
	for _, p := range e.people.rows {
		if ids[p.ID] {
			listed++
		}
	}
	return len(ids), listed
}

// unlisted names the groups that have a group as member that no list has.
func (e *evidence) unlisted() []string {
	listed := map[string]bool{}
	for _, g := range e.groups {
		listed[g.id] = true
	}
	if e.people != nil {
		for _, p := range e.people.rows {
			listed[p.ID] = true
		}
	}
	var names []string
	for _, g := range e.groups {
		if slices.ContainsFunc(g.members, func(m reference) bool {
			return !listed[m.Value] && (strings.HasPrefix(m.Ref, "Groups/") || strings.Contains(m.Ref, "/Groups/") || m.Ref == "" && e.people != nil)
		}) {
			names = append(names, firstOf(g.name, g.id))
		}
	}
	return names
}

// switchedOff knows tokens to be off where the workspace's settings say so and
// the calls for tokens answer that the feature is disabled.
func switchedOff(sections map[engine.SectionName]engine.Section) {
	var settings engine.Settings
	if json.Unmarshal(sections[engine.SectionSettings].Document, &settings) != nil {
		return
	}
	setting, read := settings["enableTokensConfig"]
	on, known := engine.ParseSwitch(setting.Value, true)
	if !read || setting.Problem != "" || !known || on {
		return
	}
	for _, name := range []engine.SectionName{engine.SectionTokens, engine.SectionGrants} {
		if c := sections[name].Coverage; c.Status == engine.Disabled && c.Reason == reasonFeatureDisabled {
			sections[name] = engine.Section{Coverage: engine.Coverage{Status: engine.Off,
				Detail: "tokens are off in this workspace (enableTokensConfig is false); none can be used until they are on again"}}
		}
	}
}

// tokensSeen is what is noted of tokens while their list is read.
type tokensSeen struct {
	yesterday, now int64
	ids            map[string]bool // of tokens that must be there: whether they are
	owners         map[string]bool // and creators: whether a token that they own was used yesterday or today
	live           map[string]int  // tokens that have not expired, by owner
}

func newTokensSeen(now time.Time, ids []string) tokensSeen {
	s := tokensSeen{
		now: now.UnixMilli(), yesterday: now.UTC().Truncate(24*time.Hour).UnixMilli() - engine.Day,
		ids: map[string]bool{}, owners: map[string]bool{}, live: map[string]int{},
	}
	for _, id := range ids {
		s.ids[id] = false
	}
	return s
}

func (s *tokensSeen) note(t engine.Token) {
	if _, wanted := s.ids[t.ID]; wanted {
		s.ids[t.ID] = true
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

// partOf is the section that a list is part of.
func partOf(list engine.SectionName) engine.SectionName {
	if list == ListUsers || list == ListServicePrincipals {
		return engine.SectionPrincipals
	}
	return list
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
		c := problem.Coverage()
		c.Count = coverage[partOf(list)].Count
		capture.Sections[partOf(list)] = engine.Section{Coverage: c}
	}
	if reason := unconfirmed(capture.Sections); reason != "" {
		capture.Sections[engine.SectionGrants] = failed(implausible(reasonTokensOfOthers, "%s", reason))
	}
}
