package store

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opSubjects = "read tokens"

// Subjects streams the tokens of a snapshot, ascending by id and without their
// raw rows, each with its facts at an instant, with its owner and creator as the
// directory of that snapshot knew them, and, where peers says so, with how it
// stands among the others. It yields nothing when the tokens were not read.
// Slices in a subject are shared with others and must not be changed.
//
// Reading is verifying: the last thing that it yields is an error, reason
// digest_mismatch, if the rows were not what was sealed.
func (db *DB) Subjects(ctx context.Context, snapshotID int64, asOf time.Time, peers bool) iter.Seq2[engine.Subject, error] {
	return func(yield func(engine.Subject, error) bool) {
		for at, err := range db.Forecast(ctx, snapshotID, []time.Time{asOf}, peers) {
			var subject engine.Subject
			if err == nil {
				subject, _ = at(0)
			}
			if !yield(subject, err) || err != nil {
				return
			}
		}
	}
}

// Forecast streams the tokens of a snapshot, ascending by id and without their raw
// rows, each as Subjects has it at some instants, ascending, which it reads but
// once.
func (db *DB) Forecast(ctx context.Context, snapshotID int64, at []time.Time, peers bool) iter.Seq2[engine.FutureToken, error] {
	return func(yield func(engine.FutureToken, error) bool) {
		err := db.futureTokens(ctx, snapshotID, at, peers, func(t engine.FutureToken) bool { return yield(t, nil) })
		if err != nil {
			yield(nil, damagedRow(snapshotID, sqlite.Failure(opSubjects, db.Path, err)))
		}
	}
}

var endsQuery = `SELECT v.owner_id, v.expires_ms FROM token_version v WHERE ` + holds + ` AND v.owner_id <> ''
	AND v.expires_ms > ?2 AND v.expires_ms <= ?3 ORDER BY v.expires_ms`

// futureTokens is Forecast until take has enough.
func (db *DB) futureTokens(ctx context.Context, id int64, at []time.Time, peers bool, take func(engine.FutureToken) bool) error {
	r, err := db.reader(ctx, id)
	if err != nil {
		return err
	}
	snapshot := r.snapshots[0]
	if !usable(snapshot, engine.SectionTokens) {
		return nil
	}
	moments := make([]int64, len(at))
	for i, t := range at {
		moments[i] = t.UnixMilli()
	}
	parties, err := r.parties(ctx, moments[0])
	if err != nil {
		return err
	}
	ends := map[string][]int64{} // owner → when its tokens end between the first and the last instant, ascending
	if len(moments) > 1 {
		for c, err := range sqlite.Scan(ctx, db.q, endsQuery, id, moments[0], moments[len(moments)-1]) {
			if err != nil {
				return err
			}
			owner := c.Text()
			ends[owner] = append(ends[owner], c.Int())
		}
	}
	party := func(p engine.Party, n int) engine.Party { // once some of its tokens have ended
		if parties.read {
			ended := ends[p.ID]
			p.LiveTokens -= sort.Search(len(ended), func(i int) bool { return ended[i] > moments[n] })
		}
		return p
	}
	peers = peers || usable(snapshot, engine.SectionAuditLog) // a token's last use rests on it
	var all *comparison
	if peers {
		if all, err = db.compare(ctx, snapshot, moments[0], moments[1:]...); err != nil {
			return err
		}
		defer all.stop()
	}
	for t, err := range ahead(r.tokens(ctx, false)) {
		if err != nil {
			return err
		}
		turns := []turn{{}}
		if peers {
			if turns, err = all.following(t.ID); err != nil {
				return err
			}
		}
		owner, creator := parties.of(t.OwnerID), parties.of(t.CreatorID)
		more := take(func(n int) (engine.Subject, bool) {
			last := len(turns) - 1
			for turns[last].from > n {
				last--
			}
			s := engine.Subject{
				Token: t.Token, Row: t.row,
				Owner: party(owner, n), Creator: party(creator, n), Peers: turns[last].peers,
			}
			s.Derive(moments[n])
			return s.Named(), true
		})
		if !more {
			return nil
		}
	}
	for _, err := range r.activity(ctx) { // the rest of what was sealed
		if err != nil {
			return err
		}
	}
	return r.err()
}

// Principals streams the principals of a snapshot, ascending by id. It yields
// nothing when they were not read. They are a part of what was sealed: ask
// Intact before they count.
func (db *DB) Principals(ctx context.Context, snapshotID int64) iter.Seq2[engine.Principal, error] {
	return func(yield func(engine.Principal, error) bool) {
		s, err := db.Snapshot(ctx, snapshotID)
		if err != nil {
			yield(engine.Principal{}, err)
			return
		}
		for p, err := range (&reader{db: db, snapshots: []engine.Snapshot{s}}).principals(ctx) {
			if !yield(p, sqlite.Failure("read principals", db.Path, err)) || err != nil {
				return
			}
		}
	}
}

// parties are the principals of a snapshot as owners and creators of tokens.
// They are held in memory while the tokens stream by, because tokens refer to
// them in no order: less than a hundred bytes each, without pointers, so that
// the collector of garbage has nothing to follow.
type parties struct {
	read    bool         // the directory was read
	whole   bool         // all of it: who is not in it does not exist
	entries []partyEntry // by id
	texts   strings.Builder
	others  map[string]int32 // live tokens of owners whom the directory does not hold
	truths  [2]*bool         // false and true
	groups  [][]string       // lists of groups that occur: few different ones do
	account engine.AccountDirectory
}

// partyEntry is a principal; its id and names are in texts from start on.
type partyEntry struct {
	start             uint64
	id, name, display uint32 // lengths
	groups            int32
	live              int32 // tokens that it owns and that have not expired
	kind              uint8 // place in kinds
	active, admin     int8  // 0, 1; -1: not known
}

// kinds are what a directory tells apart.
func kinds() []engine.Kind { return []engine.Kind{"", engine.User, engine.ServicePrincipal} }

var liveQuery = `SELECT v.owner_id, count(*) FROM token_version v WHERE ` + holds + ` AND v.owner_id <> ''
	AND (v.expires_ms IS NULL OR v.expires_ms = -1 OR v.expires_ms > ?2) GROUP BY v.owner_id`

// parties reads the principals, and counts by owner the tokens that have not expired at
// an instant. A token whose expiry is unknown counts: nothing says that it ended.
func (r *reader) parties(ctx context.Context, asOf int64) (*parties, error) {
	s := r.snapshots[0]
	coverage := s.Coverage[engine.SectionPrincipals]
	p := &parties{read: coverage.Usable(), whole: coverage.Whole(), others: map[string]int32{}, truths: [2]*bool{new(false), new(true)}}
	if !p.read {
		return p, nil
	}
	var err error
	if p.account, err = s.AccountDirectory(); err != nil {
		return nil, fmt.Errorf("section %s of snapshot %d: %w", engine.SectionAccountPrincipals, s.ID, err)
	}
	truth := func(b *bool) int8 {
		if b == nil {
			return -1
		}
		return int8(bit(*b))
	}
	groups := map[string]int32{}                              // place of a list, by its text
	p.entries = make([]partyEntry, 0, max(0, coverage.Count)) // growing would hold two of them
	for of, err := range r.principals(ctx) {
		if err != nil {
			return nil, err
		}
		text := strings.Join(of.Groups, "\x00")
		if _, known := groups[text]; !known {
			groups[text], p.groups = int32(len(p.groups)), append(p.groups, of.Groups) //nolint:gosec // there are not so many
		}
		p.entries = append(p.entries, partyEntry{
			start: uint64(p.texts.Len()), id: uint32(len(of.ID)), name: uint32(len(of.Name)), display: uint32(len(of.DisplayName)), //nolint:gosec // lengths of texts
			groups: groups[text], kind: uint8(max(0, slices.Index(kinds(), of.Kind))), active: truth(of.Active), admin: truth(of.Admin), //nolint:gosec // one of three
		})
		for _, text := range []string{of.ID, of.Name, of.DisplayName} {
			p.texts.WriteString(text)
		}
	}
	for c, err := range sqlite.Scan(ctx, r.db.q, liveQuery, s.ID, asOf) {
		if err != nil {
			return nil, err
		}
		owner, live := c.Text(), int32(c.Int()) //nolint:gosec // there are not so many
		if place, known := p.find(owner); known {
			p.entries[place].live = live
		} else {
			p.others[owner] = live
		}
	}
	return p, nil
}

// find is the place of a principal that the directory holds.
func (p *parties) find(id string) (place int, known bool) {
	text := p.texts.String()
	return slices.BinarySearchFunc(p.entries, id, func(e partyEntry, id string) int {
		return strings.Compare(text[e.start:e.start+uint64(e.id)], id)
	})
}

// of returns what is known of a principal. One that a directory read whole does
// not hold is missing: neither active nor admin. One that a directory read in
// part does not hold may be among what could not be read: it is unknown.
func (p *parties) of(id string) engine.Party {
	party := engine.Party{ID: id}
	if id == "" || !p.read {
		return party
	}
	place, known := p.find(id)
	switch {
	case !known && p.whole:
		party.Kind, party.Active, party.Admin, party.Account = engine.Missing, p.truths[0], p.truths[0], p.account.Of(id)
		fallthrough
	case !known:
		party.LiveTokens = int(p.others[id])
		return party
	}
	e, text := p.entries[place], p.texts.String()
	text = text[e.start+uint64(e.id):]
	party.Name, party.DisplayName = text[:e.name], text[e.name:e.name+e.display]
	party.Kind, party.Groups, party.LiveTokens = kinds()[e.kind], p.groups[e.groups], int(e.live)
	if e.active >= 0 {
		party.Active = p.truths[e.active]
	}
	if e.admin >= 0 {
		party.Admin = p.truths[e.admin]
	}
	return party
}

// Where a database names people. The owner of an imported token is named by its
// id; who changed something, by the section on changes.
const peopleQuery = `SELECT name FROM principal_version WHERE kind <> 'service_principal'
	UNION SELECT display_name FROM principal_version WHERE kind <> 'service_principal'
	UNION SELECT creator_name FROM token_version
	UNION SELECT owner_id FROM token_version
	UNION SELECT creator_id FROM token_version`

const peopleDocuments = `SELECT DISTINCT d.body, s.name FROM section s JOIN document d ON d.digest = s.document WHERE s.name IN (?, ?, ?)`

// People lists all names of people that the database holds, and ids among them.
func (db *DB) People(ctx context.Context) (names []string, err error) {
	defer db.explain("read names", &err)
	if names, err = sqlite.List(ctx, db.q, (*sqlite.Row).Text, peopleQuery); err != nil {
		return nil, err
	}
	sections := []any{string(engine.SectionGrants), string(engine.SectionAccountPrincipals), string(engine.SectionAuditChanges)}
	for c, err := range sqlite.Scan(ctx, db.q, peopleDocuments, sections...) {
		if err != nil {
			return nil, err
		}
		var grants engine.Grants
		var account engine.AccountPrincipals
		var changes engine.ChangeLog
		into := map[engine.SectionName]any{engine.SectionGrants: &grants, engine.SectionAccountPrincipals: &account, engine.SectionAuditChanges: &changes}
		if err := json.Unmarshal([]byte(c.Text()), into[engine.SectionName(c.Text())]); err != nil {
			return nil, err
		}
		for _, g := range grants {
			if g.Kind == string(engine.User) {
				names = append(names, g.Principal)
			}
		}
		for _, p := range account.Principals {
			if p.Kind != engine.ServicePrincipal {
				names = append(names, p.Name, p.DisplayName)
			}
		}
		for _, e := range changes.Events {
			names = append(names, e.Actor)
		}
	}
	return names, nil
}
