package enginetest

import (
	"fmt"
	"math/rand/v2"

	"patrol/engine"
)

const firstPrincipal = 7_000_000_000_000_000_001

// Principals are a directory that knows most owners of Tokens, ascending by id.
func Principals() []engine.Principal {
	var list []engine.Principal
	for i := range 12 {
		p := engine.Principal{
			ID: fmt.Sprint(firstPrincipal + i), Kind: engine.User, Name: fmt.Sprintf("User%d@Example.com", i),
			DisplayName: fmt.Sprintf("User %d", i), Active: new(i%3 != 0), Admin: new(i%4 == 0),
		}
		switch i {
		case 2, 3:
			p.Kind, p.Name = engine.ServicePrincipal, fmt.Sprintf("0000000%d-1111-2222-3333-444444444444", i)
		case 4:
			p.Active = nil
		case 5:
			p.Name, p.DisplayName = "", ""
		case 6:
			p.Name = "eve@example.org"
		}
		if i%2 == 0 {
			p.Groups = []string{"data-engineers", "everyone"}
		}
		list = append(list, p)
	}
	return list
}

// principal is the id of one that the directory knows, or does not, or none.
func (r source) principal() string {
	switch i := r.IntN(16); {
	case i == 0:
		return ""
	case i < 3:
		return fmt.Sprint(8_000_000_000_000_000_000 + i)
	}
	return fmt.Sprint(firstPrincipal + r.IntN(12))
}

// Subjects joins tokens with the directory as a store does. Without the whole
// directory nobody is known to be missing; without any of it nothing is known.
func Subjects(tokens []engine.Token, principals []engine.Principal, whole bool, asOf int64) []engine.Subject {
	live := map[string]int{}
	for _, t := range tokens {
		if t.Expires == nil || *t.Expires == engine.NeverExpires || *t.Expires > asOf {
			live[t.OwnerID]++
		}
	}
	known := map[string]engine.Party{}
	for _, p := range principals {
		known[p.ID] = engine.Party{
			ID: p.ID, Kind: p.Kind, Name: p.Name, DisplayName: p.DisplayName, Active: p.Active, Admin: p.Admin, Groups: p.Groups, LiveTokens: live[p.ID],
		}
	}
	of := func(id string) engine.Party {
		party, listed := known[id]
		switch {
		case id == "" || principals == nil:
			return engine.Party{ID: id}
		case listed:
			return party
		case !whole:
			return engine.Party{ID: id, LiveTokens: live[id]}
		}
		return engine.Party{ID: id, Kind: engine.Missing, Active: new(false), Admin: new(false), LiveTokens: live[id]}
	}
	subjects := make([]engine.Subject, len(tokens))
	for i, t := range tokens {
		subjects[i] = engine.Subject{Token: t, Facts: engine.Derive(t, asOf), Owner: of(t.OwnerID), Creator: of(t.CreatorID)}.Named()
	}
	return subjects
}

// Stand lets subjects stand among each other, at random.
func Stand(seed uint64, subjects []engine.Subject, asOf int64) {
	r := source{rand.New(rand.NewPCG(seed, 2)), asOf} //nolint:gosec // chance, not secrecy
	for i := range subjects {
		p := &engine.Peers{InPrevious: pick(r, nil, new(true), new(false)), FirstSeen: pick(r, nil, new(r.asOf-r.around()))}
		p.OwnerExpiringNear, p.WorkspaceExpiringNear = pick(r, nil, new(r.Int64N(6))), pick(r, nil, new(r.Int64N(60)))
		switch r.IntN(6) {
		case 0:
			p.SuccessorUnknown = true
		case 1, 2:
			p.Successor = &engine.Successor{ID: "successor", Created: r.asOf - r.around(), LastUsed: r.asOf - r.around()}
		}
		if r.IntN(3) == 0 {
			p.Activity = &engine.Activity{Events: r.Int64N(9), First: r.asOf - r.around(), Last: r.asOf, MaxIPsPerDay: r.Int64N(9), UserAgents: r.scopes()}
		}
		subjects[i].Peers = p
	}
}
