package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strings"
)

// Pseudonyms stand for the names of people: the same key gives the same person
// the same pseudonym in every report, and without the key nobody can compute
// them. Principals keep their ids, which say nothing outside their workspace,
// and service principals and groups keep their names: they are no people.
type Pseudonyms struct{ key []byte }

// PseudonymKeyMin is the least size of a key in bytes: that of the hash.
const PseudonymKeyMin = sha256.Size

// NewPseudonyms takes the content of a key file.
func NewPseudonyms(key []byte) (*Pseudonyms, error) {
	if len(key) < PseudonymKeyMin {
		return nil, errors.New("the key is shorter than 32 bytes")
	}
	return &Pseudonyms{slices.Clone(key)}, nil
}

// Name is the pseudonym of a name: HMAC-SHA256 over its lower case, for the
// platform tells names of users apart regardless of case.
func (p *Pseudonyms) Name(name string) string {
	if name == "" {
		return ""
	}
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(strings.ToLower(name)))
	return "person-" + hex.EncodeToString(mac.Sum(nil)[:10])
}

// address finds e-mail addresses, which is what the names of users are.
var address = regexp.MustCompile(`[\p{L}\p{N}._%+'~#&*/=?^{|}$!-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*`)

// Text replaces every e-mail address in a text.
func (p *Pseudonyms) Text(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	return address.ReplaceAllStringFunc(text, p.Name)
}

// texts replaces addresses and the given names of people in texts.
func (p *Pseudonyms) texts(names ...string) func(string) string {
	var pairs []string
	for _, name := range names {
		if len(name) > 2 { // initials would be found inside of words
			pairs = append(pairs, name, p.Name(name))
		}
	}
	if pairs == nil {
		return p.Text
	}
	known := strings.NewReplacer(pairs...)
	return func(text string) string { return p.Text(known.Replace(text)) }
}

// owner is the name of a finding's owner: an address is a user's; anything else
// is an id, or the application id of a service principal.
func (p *Pseudonyms) owner(name string) string {
	if strings.Contains(name, "@") {
		return p.Name(name)
	}
	return name
}

func (p *Pseudonyms) party(who Party) Party {
	if who.Kind == ServicePrincipal {
		return who
	}
	if who.Kind == User || strings.Contains(who.Name, "@") {
		who.Name = p.Name(who.Name)
	}
	who.DisplayName = p.Name(who.DisplayName)
	if who.Account != nil {
		account := *who.Account
		if account.Kind == User {
			account.Name = p.Name(account.Name)
		}
		who.Account = &account
	}
	return who
}
