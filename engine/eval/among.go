package eval

import (
	"strings"

	"patrol/engine"
)

// auditPrefix begins the facts that an imported audit log tells.
const auditPrefix = "audit_"

// all is the set of the facts of these names.
func (t factTable) all(names ...string) facts {
	var set facts
	for _, name := range names {
		set |= t.bits[name]
	}
	return set
}

// unknownAmong: a token that nobody compared with the others stands nowhere.
func (t factTable) unknownAmong(s *engine.Subject) facts {
	if s.Among == nil {
		return t.succession | t.near | t.past
	}
	var set facts
	if s.Among.SuccessorUnknown || s.Token.OwnerID == "" || commentUnknown(s.Token) {
		set |= t.succession
	}
	if s.Token.Expires == nil {
		set |= t.near
	}
	if s.Token.OwnerID == "" {
		set |= t.bits["owner_expiring_near"]
	}
	if s.Among.FirstSeen == nil {
		set |= t.bits["first_seen_at"]
	}
	return set
}

func commentUnknown(t engine.Token) bool {
	for _, defect := range t.Defects {
		if defect.Field == "comment" {
			return true
		}
	}
	return false
}

// unknownActivity: where a log was asked for and not read, nothing of it is
// known. Where nobody asked for one, its facts do not apply.
func (v *workspaceView) unknownActivity(t factTable, s *engine.Subject) facts {
	log := v.coverage(engine.SectionAuditLog)
	if !log.Requested() || log.Usable() && s.Among != nil {
		return 0
	}
	return t.log
}

// restsOnLog: the field of a token is told by an imported audit log alone.
func restsOnLog(field string) bool { return strings.HasPrefix(field, auditPrefix) }
