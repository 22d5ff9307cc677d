package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// SectionAuditChanges is who changed settings, grants and IP access lists, and who
// made and revoked tokens, as the platform's audit log tells it.
const SectionAuditChanges SectionName = "audit_changes"

// ChangeLog is the document of that section: the changes that the log has of one
// workspace, ascending by time, then id.
type ChangeLog struct {
	// First and Last (ms) are the span in which Events is all that the log has.
	First  int64         `json:"first_ms"`
	Last   int64         `json:"last_ms"`
	Events []ChangeEvent `json:"events"`

	Unread string `json:"-"` // why there is nothing; "" when it was read
}

// ChangeEvent is a change that the platform carried out for somebody.
type ChangeEvent struct {
	At     int64  `json:"at_ms"`
	ID     string `json:"event_id"`
	Actor  string `json:"actor" names:"person"` // name of a user, or an application id; "" when the log does not tell
	Action string `json:"action"`

	Keys   []string `json:"keys,omitempty"`   // of settings; none when the log does not tell
	Values []string `json:"values,omitempty"` // of Keys, one each; none when the log does not tell which is whose

	Target     string `json:"target,omitempty"`     // to whom a grant was given or taken from, as the log spells it
	Permission string `json:"permission,omitempty"` // what they have since

	Token string `json:"token,omitempty"` // id of the token that was made or revoked
}

// TokenAction says what an action of the audit log did to a token; "" for any other action.
func TokenAction(action string) string {
	switch action {
	case "generateDbToken":
		return "created"
	case "revokeDbToken":
		return "revoked"
	case "garbageCollectDbToken":
		return "garbage-collected"
	}
	return ""
}

// Removal is the last event before a moment (ms) that took a token away; nil when
// the log has none.
func (l *ChangeLog) Removal(token string, until int64) (found *ChangeEvent) {
	if l == nil {
		return nil
	}
	for i, e := range l.Events {
		if e.Token == token && e.At <= until && (e.Action == "revokeDbToken" || e.Action == "garbageCollectDbToken") {
			found = &l.Events[i]
		}
	}
	return found
}

// ChangedSection tells which section of a snapshot an action of the audit log
// changes; ok is false for any other action.
func ChangedSection(action string) (section SectionName, ok bool) {
	switch action {
	case "workspaceConfEdit":
		return SectionSettings, true
	case "changeDbTokenAcl", "changeDatabricksTokenAcl":
		return SectionGrants, true
	case "createIpAccessList", "updateIpAccessList", "deleteIpAccessList":
		return SectionIPAccessLists, true
	}
	return "", false
}

// ChangeLog is what an export of the audit log told of the snapshot's workspace;
// nil when nobody gave one. Of one that has nothing of the workspace, Unread says so.
func (s Snapshot) ChangeLog() (*ChangeLog, error) {
	coverage, listed := s.Coverage[SectionAuditChanges]
	switch {
	case !listed || coverage.Status == NotCollected:
		return nil, nil
	case !coverage.Complete():
		return &ChangeLog{Unread: coverage.Reason}, nil
	}
	var log ChangeLog
	if err := json.Unmarshal(s.Documents[SectionAuditChanges], &log); err != nil {
		return nil, fmt.Errorf("read %s of snapshot %d: %w", SectionAuditChanges, s.ID, err)
	}
	return &log, nil
}

// MostAuthors bounds the changes that are named for one difference.
const MostAuthors = 5

// Authors is what a log says of who changed something between two moments.
type Authors struct {
	First, Last int64         // ms: the span of the log
	Count       int           // changes in that time
	Events      []ChangeEvent // the newest of them, newest last
	Key         string        // of the setting in question; "" for anything else
	Unread      string        // why the log tells nothing; "" when it was read
}

// Authors are the changes of a section after one moment and not after another.
// Of settings only those of the key count, and those of which the log does not
// tell the keys.
func (l ChangeLog) Authors(section SectionName, key string, after, until time.Time) Authors {
	a := Authors{First: l.First, Last: l.Last, Key: key, Unread: l.Unread}
	for _, e := range l.Events {
		of, _ := ChangedSection(e.Action)
		if of != section || e.At <= after.UnixMilli() || e.At > until.UnixMilli() {
			continue
		}
		if section == SectionSettings && len(e.Keys) > 0 && !slices.Contains(e.Keys, key) {
			continue
		}
		a.Events = append(a.Events, e)
	}
	a.Count = len(a.Events)
	a.Events = a.Events[max(0, a.Count-MostAuthors):]
	return a
}

// Of names the authors of a difference between two snapshots of a workspace, "" of
// one that this log does not tell about: nobody gave it, or no action is known
// that changes the section.
func (l *ChangeLog) Of(c StateChange, from, to Snapshot) string {
	if l == nil || !slices.Contains([]SectionName{SectionSettings, SectionGrants, SectionIPAccessLists}, c.Section) {
		return ""
	}
	key := ""
	if c.Section == SectionSettings {
		key = c.Key
	}
	return l.Authors(c.Section, key, from.CollectedAt, to.CollectedAt).String()
}

// String names the authors, or says that the log names none or was not read.
func (a Authors) String() string {
	if a.Unread != "" {
		return "audit log: not read (" + a.Unread + ")"
	}
	if a.Count == 0 {
		return fmt.Sprintf("audit log (%s to %s): names nobody", moment(&a.First), moment(&a.Last))
	}
	var texts []string
	if earlier := a.Count - len(a.Events); earlier > 0 {
		texts = append(texts, strconv.Itoa(earlier)+" earlier")
	}
	for _, e := range a.Events {
		texts = append(texts, e.text(a.Key))
	}
	return "audit log: " + strings.Join(texts, ", ")
}

func (e ChangeEvent) text(key string) string {
	text := "somebody"
	if e.Actor != "" {
		text = quoteOdd(e.Actor)
	}
	text += " at " + moment(&e.At)
	if what := e.Detail(key); what != "" {
		text += " (" + what + ")"
	}
	return text
}

// Detail is what was done, as far as the log tells: the value that a setting got,
// or who got which permission.
func (e ChangeEvent) Detail(key string) string {
	if i := slices.Index(e.Keys, key); i >= 0 && i < len(e.Values) {
		return key + "=" + quoteOdd(RedactSecrets(e.Values[i]))
	}
	var parts []string
	for _, part := range []string{e.Target, e.Permission} {
		if part != "" {
			parts = append(parts, quoteOdd(part))
		}
	}
	return strings.Join(parts, " ")
}

// quoteOdd quotes what could be taken for the words around it.
func quoteOdd(text string) string {
	odd := func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`,;()"`, r)
	}
	if text == "" || strings.ContainsFunc(text, odd) {
		return strconv.Quote(text)
	}
	return text
}
