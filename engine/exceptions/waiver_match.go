package exceptions

import (
	"cmp"
	"slices"
	"strings"

	"patrol/engine"
)

// Judge says why a waiver may not excuse a finding; nothing: it may.
type Judge func(engine.WaiverRule, engine.Finding) []engine.WaiverRefusal

// WaiverMatcher excuses the findings of one evaluation and counts what each waiver
// came to. It is for one goroutine.
type WaiverMatcher struct {
	day      engine.Date
	rules    []*rule // in the order of the file
	byPolicy map[string]*index
	scratch  []*rule
}

// rule is a waiver with its patterns compiled.
type rule struct {
	engine.WaiverRule
	place                int
	workspace, id, owner *engine.Glob // nil: not asked for

	judged, undecided bool // some policy of it was run where it applies; some of that is unknown
	waived, lapsed    int
	refusals          map[refusal]int
}

// refusal is why, whatever the finding.
type refusal struct{ policy, message string }

// index holds the waivers of one policy. Those for one id or one owner are
// found by name, patterns for ids by their first character; the rest are tried
// one by one: those with a pattern for owners once for each owner, because an
// owner has many tokens.
type index struct {
	ids, owners   map[string][]*rule
	idPatterns    map[byte][]*rule
	ownerPatterns []*rule
	rest          []*rule
	ofOwner       map[[2]string][]*rule // name and id → those of ownerPatterns that match
}

func newIndex() *index {
	return &index{ids: map[string][]*rule{}, owners: map[string][]*rule{}, idPatterns: map[byte][]*rule{}, ofOwner: map[[2]string][]*rule{}}
}

// patternsFor lists the waivers whose pattern matches the owner.
func (ix *index) patternsFor(s *subject) []*rule {
	if len(ix.ownerPatterns) == 0 {
		return nil
	}
	key := [2]string{s.owner, s.ownerID}
	found, known := ix.ofOwner[key]
	if !known {
		for _, r := range ix.ownerPatterns {
			if named(r.owner, s.owner, s.ownerID) {
				found = append(found, r)
			}
		}
		ix.ofOwner[key] = found
	}
	return found
}

// NewWaiverMatcher prepares waivers to be matched on the day of an evaluation.
func NewWaiverMatcher(rules []engine.WaiverRule, day engine.Date) *WaiverMatcher {
	m := &WaiverMatcher{day: day, byPolicy: map[string]*index{}}
	for i, w := range rules {
		r := &rule{WaiverRule: w, place: i, workspace: compiled(w.Workspace), id: compiled(cmp.Or(w.Token, w.Secret)), owner: compiled(w.Owner), refusals: map[refusal]int{}}
		m.rules = append(m.rules, r)
		for _, id := range w.Policies {
			m.add(id, r)
		}
	}
	return m
}

func compiled(pattern string) *engine.Glob {
	if pattern == "" {
		return nil
	}
	g := engine.NewGlob(pattern)
	return &g
}

func (m *WaiverMatcher) add(policy string, r *rule) {
	ix := m.byPolicy[policy]
	if ix == nil {
		ix = newIndex()
		m.byPolicy[policy] = ix
	}
	switch {
	case r.id != nil && r.id.Literal():
		ix.ids[r.id.Pattern] = append(ix.ids[r.id.Pattern], r)
	case r.owner != nil && r.owner.Literal():
		ix.owners[r.owner.Pattern] = append(ix.owners[r.owner.Pattern], r)
	case r.id != nil && r.id.Prefix != "":
		ix.idPatterns[r.id.Prefix[0]] = append(ix.idPatterns[r.id.Prefix[0]], r)
	case r.owner != nil:
		ix.ownerPatterns = append(ix.ownerPatterns, r)
	default:
		ix.rest = append(ix.rest, r)
	}
}

// Except turns a failed finding into a waived one where a waiver is in force
// and judge has nothing against it: the first of the file. Whatever is not
// failed stays as it is.
func (m *WaiverMatcher) Except(f engine.Finding, judge Judge) engine.Finding {
	if f.Status != engine.Fail {
		return f
	}
	matching := m.matching(f)
	for _, r := range matching {
		if r.InForce(m.day) && !r.refused(f, judge) {
			r.waived++
			f.Status, f.Waiver = engine.Waived, r.Waiver()
			return f
		}
	}
	for _, r := range matching {
		if m.day > r.Expires {
			r.lapsed++
		}
	}
	return f
}

func (r *rule) refused(f engine.Finding, judge Judge) bool {
	refusals := judge(r.WaiverRule, f)
	for _, why := range refusals {
		r.refusals[refusal{why.Policy, why.Message}]++
	}
	return len(refusals) > 0
}

// matching lists the waivers that are about a finding, in the order of the file.
func (m *WaiverMatcher) matching(f engine.Finding) []*rule {
	ix := m.byPolicy[f.Policy]
	if ix == nil {
		return nil
	}
	s := subjectOf(f)
	candidates := [6][]*rule{ix.ids[s.id], ix.owners[s.owner], ix.patternsFor(&s), ix.rest}
	if s.ownerID != s.owner {
		candidates[4] = ix.owners[s.ownerID]
	}
	if s.id != "" {
		candidates[5] = ix.idPatterns[s.id[0]]
	}
	found := m.scratch[:0]
	for _, some := range candidates {
		for _, r := range some {
			if r.about(&s) {
				found = append(found, r)
			}
		}
	}
	slices.SortFunc(found, func(a, b *rule) int { return cmp.Compare(a.place, b.place) })
	m.scratch = found
	return found
}

// subject is what waivers look at of a finding, in lower case.
// id is that of a token or a secret.
type subject struct{ workspace, workspaceID, id, owner, ownerID string }

func subjectOf(f engine.Finding) subject {
	s := subject{
		workspace: strings.ToLower(f.Workspace), workspaceID: strings.ToLower(f.WorkspaceID),
		owner: strings.ToLower(f.Owner), ownerID: strings.ToLower(f.OwnerID),
	}
	if f.Resource != engine.ResourceWorkspace {
		s.id = strings.ToLower(f.ResourceID)
	}
	return s
}

func (r *rule) about(s *subject) bool {
	return (r.id == nil || (s.id != "" && r.id.Matches(s.id))) &&
		(r.owner == nil || named(r.owner, s.owner, s.ownerID)) &&
		r.in(s.workspace, s.workspaceID)
}

func (r *rule) in(workspace, id string) bool {
	return r.workspace == nil || named(r.workspace, workspace, id)
}

// named matches a name or an id. What has neither is nobody's: an owner that
// could not be read is not everybody.
func named(g *engine.Glob, name, id string) bool {
	return (name != "" && g.Matches(name)) || (id != "" && g.Matches(id))
}
