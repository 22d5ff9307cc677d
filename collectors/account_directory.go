package collectors

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

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
	reader := accountReader{}
	if problem := reader.readLists(ctx, c); problem != nil {
		d.coverage = forDirectory(problem).Coverage()
		return
	}
	d.principals = reader.finish()
	d.coverage = reader.coverage(len(d.principals))
}

// forDirectory says what to do about the directory; nothing else depends on it.
func forDirectory(p *Problem) *Problem {
	told := *p
	if p.Reason == reasonPermission {
		told.Hint = "Sign in as an account admin, who may list the account's users and service principals."
	}
	return &told
}

// accountReader gathers the account's principals. Its groups are not read:
// nothing that is told of somebody who is in no workspace depends on them.
type accountReader struct {
	mu sync.Mutex // lists are read at once
	tally
	principals []engine.AccountPrincipal
}

func (r *accountReader) readLists(ctx context.Context, c *Client) *Problem {
	lists := []struct {
		name, key string
		kind      engine.Kind
	}{{"Users", "userName", engine.User}, {"ServicePrincipals", "applicationId", engine.ServicePrincipal}}
	problems, tallies := make([]*Problem, len(lists)), make([]tally, len(lists))
	var readers sync.WaitGroup
	for i, list := range lists {
		readers.Go(func() { problems[i] = r.readList(ctx, c, &tallies[i], list.name, list.key, list.kind) })
	}
	readers.Wait()
	for i := range lists {
		if problems[i] != nil {
			return problems[i]
		}
		r.tally = r.join(tallies[i])
	}
	return nil
}

func (r *accountReader) readList(ctx context.Context, c *Client, t *tally, list, nameKey string, kind engine.Kind) *Problem {
	return scimRows(ctx, c, list, "id,"+nameKey+",displayName,active", t, func(row scimRow) {
		r.mu.Lock()
		defer r.mu.Unlock()
		active, ok := asBool(row.members["active"])
		if !ok {
			t.add(reasonBadType, "%s: active is no boolean: %s", engine.SafeText(row.id), engine.SafeText(cut(row.members["active"])))
		}
		r.principals = append(r.principals, engine.AccountPrincipal{
			ID: row.id, Kind: kind, Active: active,
			Name: strings.Clone(row.text(nameKey, t)), DisplayName: strings.Clone(row.text("displayName", t)),
		})
	})
}

// finish sorts by id; a user comes before a service principal of the same id,
// which is left out.
func (r *accountReader) finish() []engine.AccountPrincipal {
	slices.SortFunc(r.principals, func(a, b engine.AccountPrincipal) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), -cmp.Compare(a.Kind, b.Kind))
	})
	return slices.CompactFunc(r.principals, func(a, b engine.AccountPrincipal) bool {
		if a.ID == b.ID {
			r.add(reasonDuplicateID, "%s is both a user and a service principal", engine.SafeText(a.ID))
		}
		return a.ID == b.ID
	})
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
	known := engine.AccountPrincipals{AccountID: d.id, Principals: []engine.AccountPrincipal{}}
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
	if !tokens.Coverage.Usable() || !directory.Coverage.Complete() || tokens.Tokens == nil {
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
