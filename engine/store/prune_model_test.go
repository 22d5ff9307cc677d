package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"patrol/engine"
	"patrol/engine/enginetest"
)

// remembered is a plain model of a database that collects and prunes: all
// captures ever made, and how many of them were pruned.
type remembered struct {
	t        *rapid.T
	db       *DB
	captures []engine.Capture
	saved    []engine.Snapshot
	lists    [][]engine.Token // nil: the tokens were not read
	marks    []map[string]bool
	pruned   int
	tokens   map[int]engine.Token // as they are now
	first    map[string]int64     // token → when it was first seen, as far as it is remembered, ms
	made     int                  // marks
}

// TestPruneAgainstModel: after any sequence of collecting and pruning what is
// kept verifies and reads back exactly, changes, histories and last uses are
// those of the captures, and of what was pruned alone no byte is left.
func TestPruneAgainstModel(t *testing.T) {
	enginetest.NotInRace(t)
	dir, n := t.TempDir(), 0
	enginetest.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n, ".db"))
		db, err := Open(context.Background(), path, readWrite)
		if err != nil {
			rt.Fatal(err)
		}
		defer os.Remove(path)
		defer db.Close()
		m := &remembered{t: rt, db: db, tokens: map[int]engine.Token{}, first: map[string]int64{}}
		m.collect()
		for range rapid.IntRange(3, 9).Draw(rt, "steps") {
			if rapid.IntRange(0, 3).Draw(rt, "step") > 0 {
				m.collect()
			} else if kept := len(m.saved) - m.pruned; kept > 1 {
				m.prune(rapid.IntRange(1, kept-1).Draw(rt, "prune"))
				m.check()
			}
		}
		m.check()
	})
}

// mark is a text that is nowhere else.
func (m *remembered) mark() string {
	m.made++
	return fmt.Sprintf("mark%06d", m.made)
}

func (m *remembered) at(i int) time.Time { return now.AddDate(0, 0, i) }

func (m *remembered) collect() {
	i := len(m.saved)
	list := m.live(m.at(i))
	c := capture("prod", "1", m.at(i), list, []engine.Principal{{ID: "5", Kind: engine.User, Name: m.mark() + "@example.com", Raw: json.RawMessage(`{}`)}})
	c.Sections[engine.SectionSettings] = engine.Section{Coverage: complete, Document: fmt.Appendf(nil, `{"a":{"value":%q}}`, m.mark())}
	c.Sections[engine.SectionAuditChanges] = engine.Section{Coverage: complete, Document: fmt.Appendf(nil, `{"first_ms":1,"last_ms":2,"events":[{"at_ms":1,"actor":%q}]}`, m.mark())}
	agent := m.mark()
	c.Sections[engine.SectionAuditLog] = engine.Section{Coverage: complete, Document: json.RawMessage(`{}`), Activity: func(yield func(engine.Activity, error) bool) {
		yield(engine.Activity{TokenID: tokenID(0), Events: 1, First: 1, Last: 2, UserAgents: []string{agent}}, nil)
	}}
	if rapid.IntRange(0, 5).Draw(m.t, "denied") == 0 {
		list = nil
		c.Sections[engine.SectionTokens] = engine.Section{Coverage: engine.Coverage{Status: engine.Denied, Reason: "denied", Detail: m.mark(), Hint: "be admin"}}
	}
	s, err := m.db.SaveSnapshot(context.Background(), c)
	if err != nil {
		m.t.Fatal(err)
	}
	m.captures, m.saved, m.lists, m.marks = append(m.captures, c), append(m.saved, s), append(m.lists, list), append(m.marks, marksOf(c, agent))
	for _, t := range list {
		if _, known := m.first[t.ID]; !known {
			m.first[t.ID] = s.CollectedAt.UnixMilli()
		}
	}
}

// live lets chance change the tokens, and lists those that there are.
func (m *remembered) live(at time.Time) []engine.Token {
	list := []engine.Token{}
	for i := range 6 {
		t, known := m.tokens[i]
		if !known {
			t = population(1, 1, "")[0]
			t.ID, t.LastUsed = tokenID(i), nil
			if i%2 == 0 {
				t.LastUsed = new(at.AddDate(0, 0, -40).UnixMilli())
			}
			t.Comment = m.mark()
		}
		switch rapid.IntRange(0, 7).Draw(m.t, "token") {
		case 0, 1:
			m.tokens[i] = t
			continue // it is gone today
		case 2:
			t.Comment = m.mark()
		case 3, 4:
			t.LastUsed = new(at.UnixMilli() / engine.Day * engine.Day)
		}
		t.Raw = rawOf(t)
		if i == 3 { // a field that patrol does not know
			t.Raw = append(bytes.TrimSuffix(t.Raw, []byte("}")), fmt.Sprintf(`,"note":%q}`, t.Comment)...)
		}
		m.tokens[i] = t
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b engine.Token) int { return bytes.Compare([]byte(a.ID), []byte(b.ID)) })
	return list
}

// marksOf are the marks that a capture holds.
func marksOf(c engine.Capture, agent string) map[string]bool {
	found := map[string]bool{agent: true}
	text := fmt.Append(nil, c.Sections[engine.SectionPrincipals].Principals[0].Name, c.Sections[engine.SectionTokens].Coverage.Detail)
	for _, name := range []engine.SectionName{engine.SectionSettings, engine.SectionAuditChanges} {
		text = append(text, c.Sections[name].Document...)
	}
	if tokens := c.Sections[engine.SectionTokens].Tokens; tokens != nil {
		for t := range tokens {
			text = append(text, t.Comment...)
		}
	}
	for at := bytes.Index(text, []byte("mark")); at >= 0; at = bytes.Index(text, []byte("mark")) {
		found[string(text[at:at+10])] = true
		text = text[at+10:]
	}
	return found
}

func (m *remembered) prune(n int) {
	if _, err := m.db.Prune(context.Background(), m.saved[m.pruned:m.pruned+n]); err != nil {
		m.t.Fatal(err)
	}
	m.pruned += n
	for id := range m.first {
		if _, held := m.find(m.heldAt(m.pruned), id); !held && !m.later(id) {
			delete(m.first, id)
		}
	}
}

// heldAt is the list that held at a snapshot: its own, else the last one read.
func (m *remembered) heldAt(i int) []engine.Token {
	for ; i >= 0; i-- {
		if m.lists[i] != nil {
			return m.lists[i]
		}
	}
	return nil
}

func (m *remembered) find(list []engine.Token, id string) (engine.Token, bool) {
	i := slices.IndexFunc(list, func(t engine.Token) bool { return t.ID == id })
	if i < 0 {
		return engine.Token{}, false
	}
	return list[i], true
}

func (m *remembered) later(id string) bool {
	return slices.ContainsFunc(m.lists[m.pruned:], func(list []engine.Token) bool {
		_, found := m.find(list, id)
		return found
	})
}

func (m *remembered) check() {
	ctx := context.Background()
	if err := m.db.VerifyChain(ctx); err != nil {
		m.t.Fatal(err)
	}
	for i := m.pruned; i < len(m.saved); i++ {
		checkSnapshot(m.t, m.db, m.captures[i], m.saved[i])
		for j := i; j < len(m.saved); j++ {
			m.checkPair(i, j)
		}
	}
	for i := range 6 {
		m.checkHistory(tokenID(i))
	}
	m.checkBytes()
}

func (m *remembered) checkPair(i, j int) {
	if m.lists[i] == nil || m.lists[j] == nil {
		return
	}
	var changes []engine.TokenChange
	for c, err := range m.db.TokenChanges(context.Background(), m.saved[i], m.saved[j]) {
		if err != nil {
			m.t.Fatal(err)
		}
		changes = append(changes, c)
		if c.Kind != engine.Appeared {
			if was, _ := m.find(m.lists[i], c.ID()); !equal(was.LastUsed, c.Before.LastUsed) {
				m.t.Fatalf("from %d to %d: %s was last used %v, want %v", i, j, c.ID(), c.Before.LastUsed, was.LastUsed)
			}
		}
	}
	if got, want := describe(changes), changesOf(m.lists[i], m.lists[j]); !slices.Equal(got, want) {
		m.t.Fatalf("from %d to %d: %v, want %v", i, j, got, want)
	}
	used, err := m.db.UsedBetween(context.Background(), m.saved[i], m.saved[j])
	if want := m.usedBetween(i, j); err != nil || used != want {
		m.t.Fatalf("%d used between %d and %d, want %d (%v)", used, i, j, want, err)
	}
}

// usedBetween counts the tokens that a list after one and up to another shows to
// have been used on the day of the first or later.
func (m *remembered) usedBetween(i, j int) (n int) {
	day := m.at(i).UnixMilli() / engine.Day * engine.Day
	for token := range 6 {
		before, _ := m.find(m.heldAt(i), tokenID(token))
		n += int(bit(slices.ContainsFunc(m.lists[i+1:j+1], func(list []engine.Token) bool {
			t, found := m.find(list, tokenID(token))
			return found && t.LastUsed != nil && *t.LastUsed >= day && !equal(t.LastUsed, before.LastUsed)
		})))
	}
	return n
}

// checkHistory compares when a token was first seen, when it vanished, and how
// its last use was known.
func (m *remembered) checkHistory(id string) {
	found, err := m.db.TokenHistory(context.Background(), id)
	if err != nil {
		m.t.Fatal(err)
	}
	_, known := m.first[id]
	if known != (len(found) == 1) {
		m.t.Fatalf("%s: %d histories, known: %v", id, len(found), known)
	}
	if !known {
		return
	}
	h := found[0]
	if h.FirstSeen != m.first[id] {
		m.t.Fatalf("%s was first seen on %d, want %d", id, h.FirstSeen, m.first[id])
	}
	var got []string
	h.Events(func(t engine.Token, at int64) (engine.Cause, string) {
		got = append(got, vanished(at, t))
		return "", ""
	})
	if diff := cmp.Diff(m.vanished(id), got); diff != "" {
		m.t.Fatalf("%s vanished: %s", id, diff)
	}
	for i := m.pruned; i < len(m.saved); i++ {
		t, listed := m.find(m.lists[i], id)
		if used := lastUseIn(h, m.saved[i].ID); listed && !equal(used, t.LastUsed) {
			m.t.Fatalf("%s in snapshot %d: last used %v, want %v", id, i, used, t.LastUsed)
		}
	}
}

func vanished(at int64, t engine.Token) string {
	if t.LastUsed == nil {
		return fmt.Sprint(at, " never used ", t.Comment)
	}
	return fmt.Sprint(at, " used ", *t.LastUsed, " ", t.Comment)
}

// vanished tells when a token that the oldest snapshot kept or a later one held
// was found gone, and as what it was known.
func (m *remembered) vanished(id string) (texts []string) {
	var held *engine.Token
	for i, list := range m.lists {
		if list == nil {
			continue
		}
		t, found := m.find(list, id)
		if !found && held != nil && i > m.pruned {
			texts = append(texts, vanished(m.at(i).UnixMilli(), *held))
		}
		if held = nil; found {
			held = &t
		}
	}
	return texts
}

func lastUseIn(h engine.TokenHistory, snapshot int64) (used *int64) {
	for _, use := range h.Uses {
		if use.Snapshot <= snapshot {
			used = use.LastUsed
		}
	}
	return used
}

// checkBytes looks for what only pruned snapshots held.
func (m *remembered) checkBytes() {
	if m.pruned == 0 {
		return
	}
	kept := map[string]bool{}
	for _, marks := range m.marks[m.pruned:] {
		for mark := range marks {
			kept[mark] = true
		}
	}
	if list := m.heldAt(m.pruned); m.lists[m.pruned] == nil { // versions hold on through a snapshot that did not read them
		for _, t := range list {
			kept[t.Comment] = true
		}
	}
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(m.db.Path + suffix)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, marks := range m.marks[:m.pruned] {
			for mark := range marks {
				if !kept[mark] && bytes.Contains(content, []byte(mark)) {
					m.t.Fatalf("the database%s still holds %s, which only pruned snapshots did", suffix, mark)
				}
			}
		}
	}
}
