package store

import (
	"context"

	"patrol/engine"
)

// parties are the principals of a snapshot as owners and creators of tokens.
// They are held in memory while the tokens stream by: tokens refer to them in
// no order, and there are far fewer of them.
type parties struct {
	read  bool // the directory was read
	whole bool // all of it: who is not in it does not exist
	known map[string]engine.Party
	live  map[string]int
}

func (db *DB) parties(ctx context.Context, s engine.Snapshot, asOf int64) (*parties, error) {
	p := &parties{read: usable(s, engine.SectionPrincipals), whole: s.Coverage[engine.SectionPrincipals].Complete(), known: map[string]engine.Party{}}
	if !p.read {
		return p, nil
	}
	var err error
	if p.live, err = db.liveTokens(ctx, s, asOf); err != nil {
		return nil, err
	}
	for principal, err := range db.principals(ctx, s, nil) {
		if err != nil {
			return nil, err
		}
		p.known[principal.ID] = engine.Party{
			ID: principal.ID, Kind: principal.Kind, Name: principal.Name, DisplayName: principal.DisplayName,
			Active: principal.Active, Admin: new(principal.Admin), Groups: principal.Groups, LiveTokens: p.live[principal.ID],
		}
	}
	return p, nil
}

const liveQuery = `SELECT v.owner_id, count(*) FROM token_version v WHERE ` + holds + ` AND v.owner_id <> ''
	AND (v.expires_ms IS NULL OR v.expires_ms = -1 OR v.expires_ms > ?3) GROUP BY v.owner_id`

// liveTokens counts by owner the tokens of a snapshot that have not expired at
// an instant. A token whose expiry is unknown counts: nothing says that it ended.
func (db *DB) liveTokens(ctx context.Context, s engine.Snapshot, asOf int64) (map[string]int, error) {
	workspace, err := db.workspaceKey(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	live := map[string]int{}
	for c, err := range scan(ctx, db.sql, liveQuery, s.ID, workspace, asOf) {
		if err != nil {
			return nil, err
		}
		live[c.text()] = int(c.integer())
		if c.err != nil {
			return nil, c.err
		}
	}
	return live, nil
}

// of returns what is known of a principal. One that a directory read whole does
// not hold is missing: neither active nor admin. One that a directory read in
// part does not hold may be among what could not be read: it is unknown.
func (p *parties) of(id string) engine.Party {
	if id == "" || !p.read {
		return engine.Party{ID: id}
	}
	if party, ok := p.known[id]; ok {
		return party
	}
	if !p.whole {
		return engine.Party{ID: id, LiveTokens: p.live[id]}
	}
	missing := engine.Party{ID: id, Kind: engine.Missing, Active: new(false), Admin: new(false), LiveTokens: p.live[id]}
	p.known[id] = missing
	return missing
}
