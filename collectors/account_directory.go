package collectors

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/time/rate"

	"patrol/engine"
)

// The directory of an account has limits of its own: documented are 240 lists,
// without a unit. This is half of that a minute, after a few at once.
const (
	accountSCIMPerSecond = 2
	accountSCIMAtOnce    = 10
)

// AccountDirectory is the users and service principals of an account, read once
// for all its workspaces. It takes some 200 bytes a principal.
type AccountDirectory struct {
	id         string
	read       chan struct{} // closed when what follows is there
	coverage   engine.Coverage
	principals []engine.AccountPrincipal // by id
}

// ReadDirectory begins to read the directory, beside whatever else is read. It
// is nil for an account that has none to ask, as where Azure listed workspaces.
// The end of ctx ends the reading.
func (a Account) ReadDirectory(ctx context.Context) *AccountDirectory {
	if a.client == nil {
		return nil
	}
	d := &AccountDirectory{id: a.ID, read: make(chan struct{})}
	go func() {
		defer close(d.read)
		d.fill(ctx, a.client)
	}()
	return d
}

// Coverage waits for the reading and tells what became of it; Count is that of
// all principals.
func (d *AccountDirectory) Coverage() engine.Coverage {
	<-d.read
	return d.coverage
}

// accountDirectory is the client with the account's directory and its limits.
func (c *accountClient) accountDirectory() *Client {
	asking := c.forSection(engine.SectionAccountPrincipals)
	asking.scim = "/api/2.0/accounts/" + c.id + "/scim/v2/"
	limits := newPace(c.o.RequestRate)
	limits.buckets = append([]bucket{{asking.scim, rate.NewLimiter(accountSCIMPerSecond, accountSCIMAtOnce)}}, limits.buckets...)
	asking.pace = limits
	return asking
}

func (d *AccountDirectory) fill(ctx context.Context, account *accountClient) {
	c := account.accountDirectory()
	defer c.http.CloseIdleConnections()
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.SectionTimeout, errSectionTimeout)
	defer cancel()
	people, problem := readPeople(ctx, c, ",active")
	if problem != nil {
		d.coverage = forDirectory(problem).Coverage()
		return
	}
	for _, p := range people.rows {
		d.principals = append(d.principals, engine.AccountPrincipal{
			ID: strings.Clone(p.ID), Kind: p.Kind, Active: p.Active, Name: strings.Clone(p.Name), DisplayName: strings.Clone(p.DisplayName),
		})
	}
	d.coverage = people.coverage(len(d.principals))
}

// forDirectory says what to do about the directory; nothing else depends on it.
func forDirectory(p *Problem) *Problem {
	told := *p
	if p.Reason == reasonPermission {
		told.Hint = "Sign in as an account admin, who may list the account's users and service principals."
	}
	return &told
}

// Section is what the account knows of the owners and creators of a capture's
// tokens whom the workspace's own directory, read whole, does not hold. It
// waits for the reading.
func (d *AccountDirectory) Section(c engine.Capture) (engine.Section, error) {
	coverage := d.Coverage()
	if !coverage.Usable() {
		return engine.Section{Coverage: coverage}, nil
	}
	missing, err := missingFrom(c)
	if err != nil {
		return engine.Section{}, err
	}
	known := engine.AccountPrincipals{AccountID: d.id, Principals: []engine.AccountPrincipal{}, Total: len(d.principals)}
	for _, id := range missing {
		if place, ok := slices.BinarySearchFunc(d.principals, id, func(p engine.AccountPrincipal, id string) int { return cmp.Compare(p.ID, id) }); ok {
			known.Principals = append(known.Principals, d.principals[place])
		}
	}
	coverage.Count = len(known.Principals)
	return engine.Section{Coverage: coverage, Document: document(known)}, nil
}

// missingFrom lists whom tokens name and the workspace's directory does not
// hold, sorted; nobody where either was not read.
func missingFrom(c engine.Capture) ([]string, error) {
	tokens, directory := c.Sections[engine.SectionTokens], c.Sections[engine.SectionPrincipals]
	if !tokens.Coverage.Usable() || !directory.Coverage.Whole() || tokens.Tokens == nil {
		return nil, nil
	}
	held := map[string]bool{"": true}
	for _, p := range directory.Principals {
		held[p.ID] = true
	}
	var missing []string
	for t, err := range tokens.Tokens {
		if err != nil {
			return nil, fmt.Errorf("look for owners in the account: %w", err)
		}
		for _, id := range []string{t.OwnerID, t.CreatorID} {
			if !held[id] {
				held[id] = true
				missing = append(missing, id)
			}
		}
	}
	slices.Sort(missing)
	return missing, nil
}
