package plan

import (
	"slices"

	"patrol/engine"
)

// protection tells why no step may change a token; "" when one may. Only ids
// count: names and comments are anybody's to choose. An application id is the
// name of a service principal that nobody can choose.
func (b *builder) protection(w *workspace, s engine.Subject) string {
	if why := b.configured(s); why != "" {
		return why
	}
	if w.caller != "" && (s.Token.OwnerID == w.caller || s.Token.CreatorID == w.caller) {
		return "owner or creator is the principal that patrol signed in as"
	}
	return ""
}

// configured tells what the configuration protects, by itself: that is what a
// change to the whole workspace must spare, too.
func (b *builder) configured(s engine.Subject) string {
	protected := b.in.Config.Protected
	switch {
	case slices.Contains(protected.Tokens, s.Token.ID):
		return "the configuration protects the token"
	case names(protected.Principals, s.Token.OwnerID, s.Owner):
		return "the configuration protects its owner"
	case names(protected.Principals, s.Token.CreatorID, s.Creator):
		return "the configuration protects its creator"
	}
	return ""
}

func names(list []string, id string, party engine.Party) bool {
	return id != "" && slices.Contains(list, id) ||
		party.Kind == engine.ServicePrincipal && party.Name != "" && slices.Contains(list, party.Name) ||
		party.Account != nil && party.Account.Kind == engine.ServicePrincipal && slices.Contains(list, party.Account.Name)
}
