package engine

import (
	"slices"
	"strings"
)

// Protected are tokens and principals that no step may touch, by id only:
// names and comments are anybody's to choose. The application id of a service
// principal is an id as well: nobody can choose it.
type Protected struct {
	Tokens     []string `json:"tokens"`
	Principals []string `json:"principals"`
}

// With adds what somebody else protects.
func (p Protected) With(q Protected) Protected {
	return Protected{slices.Concat(p.Tokens, q.Tokens), slices.Concat(p.Principals, q.Principals)}
}

// Protects tells why no step may touch a token; "" when nothing says so. Plan
// and apply both ask here.
func (p Protected) Protects(s Subject) string {
	switch t := s.Token; {
	case slices.Contains(p.Tokens, t.ID):
		return "the configuration protects the token"
	case p.names(t.OwnerID, s.Owner):
		return "the configuration protects its owner"
	case p.names(t.CreatorID, s.Creator), t.CreatorName != "" && containsFold(p.Principals, t.CreatorName):
		return "the configuration protects its creator"
	}
	return ""
}

func (p Protected) names(id string, party Party) bool {
	application := party.Kind == ServicePrincipal && containsFold(p.Principals, party.Name)
	inAccount := party.Account != nil && party.Account.Kind == ServicePrincipal && containsFold(p.Principals, party.Account.Name)
	return id != "" && slices.Contains(p.Principals, id) || application || inAccount
}

// ByApplication reports whether any principal is named by its application id:
// which numeric id that is only the directory tells.
func (p Protected) ByApplication() bool {
	return slices.ContainsFunc(p.Principals, func(id string) bool { return strings.Trim(id, "0123456789") != "" })
}

func containsFold(list []string, text string) bool {
	return text != "" && slices.ContainsFunc(list, func(item string) bool { return strings.EqualFold(item, text) })
}
