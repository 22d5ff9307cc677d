package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is what a workspace was like at an earlier time, section by section: the
// last that was read whole. A section without a document was never.
type State struct{ Settings, Grants Dated }

// Dated is the document of a section and when it was read.
type Dated struct {
	Document json.RawMessage
	At       time.Time
}

// StateChange is what changed of a workspace's own state between two snapshots:
// a setting, a grant, or another section as a whole.
type StateChange struct {
	Kind    ChangeKind  `json:"change"`
	Section SectionName `json:"section"`
	Key     string      `json:"key"`              // of a setting; level, kind and principal of a grant; "" for a whole section
	Before  string      `json:"before,omitempty"` // value of a setting
	After   string      `json:"after,omitempty"`
}

// StateChanges compares the documents of two snapshots of a workspace, section by
// section. Sections that one of them did not read whole are left out and named:
// nobody knows what changed there.
func StateChanges(before, after Snapshot) (changes []StateChange, unread []SectionName, err error) {
	for _, name := range SortedKeys(before.Documents) {
		old, now := before.Documents[name], after.Documents[name]
		if noState(name) || now == nil {
			continue
		}
		if !before.Coverage[name].Complete() || !after.Coverage[name].Complete() {
			unread = append(unread, name)
			continue
		}
		if bytes.Equal(old, now) {
			continue
		}
		more, err := sectionChanges(name, old, now)
		if err != nil {
			return nil, nil, fmt.Errorf("compare section %s: %w", name, err)
		}
		changes = append(changes, more...)
	}
	for _, name := range []SectionName{SectionSettings, SectionGrants} {
		if !slices.Contains(unread, name) && (before.Documents[name] == nil || after.Documents[name] == nil) {
			unread = append(unread, name)
		}
	}
	return changes, unread, nil
}

// noState tells of documents that are no state of the workspace: who read it,
// what somebody exported for the audit, and what the account knows of others.
func noState(name SectionName) bool {
	switch name {
	case SectionWorkspace, SectionAuditLog, SectionAuditChanges, SectionTokenReport, SectionAccountPrincipals, SectionPrincipals: // principals are compared row by row
		return true
	}
	return false
}

func sectionChanges(name SectionName, old, now json.RawMessage) ([]StateChange, error) {
	switch name {
	case SectionSettings:
		return settingChanges(old, now)
	case SectionGrants:
		return grantChanges(old, now)
	}
	return []StateChange{{Kind: Changed, Section: name}}, nil
}

func settingChanges(old, now json.RawMessage) (changes []StateChange, err error) {
	var a, b Settings
	if err := decodeBoth(old, now, &a, &b); err != nil {
		return nil, err
	}
	keys := SortedKeys(a)
	for key := range b {
		if _, known := a[key]; !known {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if before, after := settingText(a[key]), settingText(b[key]); before != after {
			changes = append(changes, StateChange{Changed, SectionSettings, key, before, after})
		}
	}
	return changes, nil
}

// settingText tells a value apart from none, and from one that was not read.
func settingText(s Setting) string {
	switch {
	case s.Problem != "":
		return "(" + string(s.Problem) + ")"
	case s.Value == nil:
		return "(not set)"
	}
	return *s.Value
}

func grantChanges(old, now json.RawMessage) (changes []StateChange, err error) {
	var a, b Grants
	if err := decodeBoth(old, now, &a, &b); err != nil {
		return nil, err
	}
	was, is := grantKeys(a), grantKeys(b)
	for key := range was {
		if !is[key] {
			changes = append(changes, StateChange{Kind: Vanished, Section: SectionGrants, Key: key})
		}
	}
	for key := range is {
		if !was[key] {
			changes = append(changes, StateChange{Kind: Appeared, Section: SectionGrants, Key: key})
		}
	}
	slices.SortFunc(changes, func(x, y StateChange) int {
		return strings.Compare(x.Key+" "+string(x.Kind), y.Key+" "+string(y.Kind))
	})
	return changes, nil
}

func grantKeys(list Grants) map[string]bool {
	keys := map[string]bool{}
	for _, g := range list {
		key := g.Level + " " + g.Kind + " " + g.Principal
		if g.Inherited {
			key += " (inherited)"
		}
		keys[key] = true
	}
	return keys
}

func decodeBoth[T any](old, now json.RawMessage, a, b *T) error {
	if err := json.Unmarshal(old, a); err != nil {
		return err
	}
	return json.Unmarshal(now, b)
}
