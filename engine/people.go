package engine

import (
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

var (
	mailto      = regexp.MustCompile(`(?i)\bmailto:([^\s?>]*)(\?[^\s>]*)?`)
	principalID = regexp.MustCompile(`^([0-9]{1,20}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$`)
)

// Person is who is meant by a text that a person wrote: the address of
// "Ann <ann@example.com>", "mailto:ann@example.com?subject=x" and "ann@example.com
// (lead)", or the id of a principal, numeric or that of an application. Signs that
// nobody sees do not count, and full-width letters are letters. Any other letter
// that only looks like one of an address is refused.
func Person(text string) (string, error) {
	text = strings.TrimSpace(strings.Map(seen, text))
	text = mailto.ReplaceAllStringFunc(text, func(link string) string {
		link = mailto.FindStringSubmatch(link)[1]
		if plain, err := url.PathUnescape(link); err == nil {
			return plain
		}
		return link
	})
	if principalID.MatchString(text) {
		if digits := strings.TrimLeft(text, "0"); !strings.Contains(text, "-") && digits != "" { // 0123 is 123
			return digits, nil
		}
		return text, nil
	}
	address, err := mail.ParseAddress(text)
	if err != nil {
		return text, fmt.Errorf("%q is neither an e-mail address nor the id of a principal", text)
	}
	if _, domain, _ := strings.Cut(address.Address, "@"); strings.ContainsAny(domain, "!#$%&'*/=?^_`{|}~+") {
		return text, fmt.Errorf("%q is neither an e-mail address nor the id of a principal", text)
	}
	if i := strings.IndexFunc(address.Address, func(r rune) bool { return r > unicode.MaxASCII }); i >= 0 {
		return text, fmt.Errorf("%q holds letters that no sign-in address has (%+q): write the address in plain letters, or the numeric id", address.Address, address.Address[i:])
	}
	return address.Address, nil
}

// seen is a sign as it is read: without what is not seen, and of usual width.
func seen(r rune) rune {
	switch {
	case r >= '！' && r <= '～':
		return r - '！' + '!'
	case unicode.Is(unicode.Cf, r):
		return -1
	case unicode.IsSpace(r):
		return ' '
	}
	return r
}

// What an owner can answer about a token.
const (
	ReplyKeep    = "keep"    // the owner needs it and sets it right
	ReplyRevoke  = "revoke"  // it can go
	ReplyJustify = "justify" // it has to stay as it is, for a reason and until a day
)

// ReplyWords are the answers in the order in which they are offered.
func ReplyWords() []string { return []string{ReplyKeep, ReplyRevoke, ReplyJustify} }

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
