package eval

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
)

// facts is a set of fields of input.token, input.owner and input.creator.
type facts uint64

// tokenFields are the fields of input.token. The order is that of the bits.
func tokenFields() []string {
	return []string{
		"id", "comment", "scopes", "autoscope_state", "inferred_scopes", "backfill_scopes",
		"owner_id", "creator_id", "creator_name",
		"created_at", "created_ms", "expires_at", "expires_ms", "last_used_at", "last_used_ms",
		"age_days", "lifetime_days", "idle_days", "used", "expires_in_days", "never_expires", "expired", "on_behalf",
		"superseded_by", "superseded_by_created_at", "superseded_by_idle_days",
		"owner_expiring_near", "workspace_expiring_near", "in_previous_snapshot", "first_seen_at",
		"audit_events", "audit_first_event_at", "audit_last_event_at", "audit_max_ips_per_day", "audit_user_agents",
	}
}

// partyFields are the fields of input.owner and input.creator.
func partyFields() []string {
	return []string{"id", "kind", "name", "display_name", "active", "admin", "groups", "live_tokens"}
}

// platformFields says from which fields of the platform's answer a field of
// the token comes: a defect in one of them is why it is unknown.
func platformFields(field string) []string {
	switch field {
	case "id":
		return []string{"token_id"}
	case "creator_id":
		return []string{"created_by_id"}
	case "creator_name":
		return []string{"created_by_username"}
	case "created_at", "created_ms", "age_days":
		return []string{"creation_time"}
	case "expires_at", "expires_ms", "never_expires", "expired", "expires_in_days":
		return []string{"expiry_time"}
	case "lifetime_days":
		return []string{"creation_time", "expiry_time"}
	case "last_used_at", "last_used_ms", "used":
		return []string{"last_used_day"}
	case "idle_days":
		return []string{"last_used_day", "creation_time"}
	case "on_behalf":
		return []string{"owner_id", "created_by_id"}
	case "superseded_by", "superseded_by_created_at", "superseded_by_idle_days":
		return []string{"owner_id", "comment"}
	case "owner_expiring_near":
		return []string{"owner_id", "expiry_time"}
	case "workspace_expiring_near":
		return []string{"expiry_time"}
	case "in_previous_snapshot", "first_seen_at":
		return nil
	}
	return []string{field}
}

// factTable numbers the fields.
type factTable struct {
	names          []string // "age_days", "owner.active", …, by bit
	bits           map[string]facts
	owner, creator partyBits

	succession, near, past, log facts // of how a token stands among others
}

// partyBits are the fields of a party.
type partyBits struct{ all, id, active, admin, groups facts }

func newFactTable() factTable {
	t := factTable{bits: map[string]facts{}}
	for _, name := range tokenFields() {
		t.put(name)
	}
	for _, party := range []string{"owner.", "creator."} {
		for _, name := range partyFields() {
			t.put(party + name)
		}
	}
	t.owner, t.creator = t.party("owner"), t.party("creator")
	t.succession = t.all("superseded_by", "superseded_by_created_at", "superseded_by_idle_days")
	t.near = t.all("owner_expiring_near", "workspace_expiring_near")
	t.past = t.all("in_previous_snapshot", "first_seen_at")
	for _, name := range t.names {
		if restsOnLog(name) {
			t.log |= t.bits[name]
		}
	}
	return t
}

func (t factTable) party(object string) partyBits {
	return partyBits{t.below(object), t.bits[object+".id"], t.bits[object+".active"], t.bits[object+".admin"], t.bits[object+".groups"]}
}

func (t *factTable) put(name string) {
	t.bits[name] = 1 << len(t.names)
	t.names = append(t.names, name)
}

// list names the fields of a set, sorted.
func (t factTable) list(set facts) []string {
	var names []string
	for _, name := range t.names {
		if set&t.bits[name] != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// below is all fields of token, owner or creator.
func (t factTable) below(object string) facts {
	prefix, fields := "", tokenFields()
	if object != "token" {
		prefix, fields = object+".", partyFields()
	}
	var set facts
	for _, name := range fields {
		set |= t.bits[prefix+name]
	}
	return set
}

// factsUnder is the set of fields that a ref reads; known is false when it
// names a field that no input has.
func factsUnder(ref ast.Ref) (set facts, known bool) {
	t := newFactTable()
	object, name := word(ref, 1), word(ref, 2)
	switch {
	case len(ref) == 1:
		return t.below("token") | t.below("owner") | t.below("creator"), true
	case object != "token" && object != "owner" && object != "creator":
		return 0, true
	case name == "":
		return t.below(object), true
	case object == "token":
		return t.bits[name], t.bits[name] != 0
	}
	bit := t.bits[object+"."+name]
	return bit, bit != 0
}

// unknownFacts is what is unknown of a subject, as opposed to what does not apply.
func (t factTable) unknownFacts(s *engine.Subject, directory, groups bool) facts {
	var set facts
	for _, name := range s.Facts.Unknown {
		set |= t.bits[name]
	}
	for _, pair := range [][2]string{{"created_at", "created_ms"}, {"expires_at", "expires_ms"}, {"last_used_at", "last_used_ms"}} {
		if set&t.bits[pair[0]] != 0 {
			set |= t.bits[pair[1]]
		}
	}
	for _, defect := range s.Token.Defects {
		set |= t.raw(defect.Field)
	}
	set |= t.ifEmpty("owner_id", s.Token.OwnerID) | t.ifEmpty("creator_id", s.Token.CreatorID) | t.ifEmpty("creator_name", s.Token.CreatorName)
	return set | t.owner.unknown(s.Owner, directory, groups) | t.creator.unknown(s.Creator, directory, groups)
}

func (t factTable) ifEmpty(name, value string) facts {
	if value == "" {
		return t.bits[name]
	}
	return 0
}

// raw is the field that a defective field of the answer makes unknown by
// itself; facts derived from it are in Facts.Unknown.
func (t factTable) raw(platform string) facts {
	switch platform {
	case "token_id":
		return t.bits["id"]
	case "created_by_id":
		return t.bits["creator_id"]
	case "created_by_username":
		return t.bits["creator_name"]
	case "comment", "scopes", "autoscope_state", "inferred_scopes", "backfill_scopes", "owner_id":
		return t.bits[platform]
	}
	return 0
}

// unknown: a directory that was not read whole cannot tell that somebody is
// missing from it, nor groups that were not, who is in none.
func (b partyBits) unknown(p engine.Party, directory, groups bool) facts {
	var set facts
	if p.ID == "" {
		set |= b.id
	}
	if !knownParty(p, directory) {
		return set | b.all&^b.id
	}
	if p.Active == nil {
		set |= b.active
	}
	if p.Admin == nil {
		set |= b.admin
	}
	if !groups && p.Kind != engine.Missing {
		set |= b.groups
	}
	return set
}

func knownParty(p engine.Party, directory bool) bool {
	return p.Kind != "" && (p.Kind != engine.Missing || directory)
}
