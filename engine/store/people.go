package store

import (
	"context"
	"encoding/json"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// Where a database names people. The owner of an imported token is named by its
// id; who changed something, by the section on changes.
const peopleQuery = `SELECT name FROM principal_version WHERE kind <> 'service_principal'
	UNION SELECT display_name FROM principal_version WHERE kind <> 'service_principal'
	UNION SELECT creator_name FROM token_version
	UNION SELECT owner_id FROM token_version
	UNION SELECT creator_id FROM token_version`

const peopleDocuments = `SELECT DISTINCT s.name, d.body FROM section s JOIN document d ON d.digest = s.document WHERE s.name IN (?, ?, ?)`

// People lists all names of people that the database holds, and ids among them.
func (db *DB) People(ctx context.Context) (names []string, err error) {
	for c, err := range sqlite.Scan(ctx, db.q, peopleQuery) {
		if err != nil {
			return nil, sqlite.Failure("read names", db.Path, err)
		}
		names = append(names, c.Text())
		if c.Err != nil {
			return nil, sqlite.Failure("read names", db.Path, c.Err)
		}
	}
	for c, err := range sqlite.Scan(ctx, db.q, peopleDocuments, string(engine.SectionGrants), string(engine.SectionAccountPrincipals), string(engine.SectionAuditChanges)) {
		if err != nil {
			return nil, sqlite.Failure("read names", db.Path, err)
		}
		section, body := engine.SectionName(c.Text()), []byte(c.Text())
		if c.Err != nil {
			return nil, sqlite.Failure("read names", db.Path, c.Err)
		}
		var grants engine.Grants
		var account engine.AccountPrincipals
		var changes engine.ChangeLog
		switch section {
		case engine.SectionGrants:
			err = json.Unmarshal(body, &grants)
		case engine.SectionAccountPrincipals:
			err = json.Unmarshal(body, &account)
		default:
			err = json.Unmarshal(body, &changes)
		}
		if err != nil {
			return nil, sqlite.Failure("read names", db.Path, err)
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
