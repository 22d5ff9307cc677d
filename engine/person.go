package engine

import (
	"fmt"
	"net/mail"
	"regexp"
	"strings"
)

var (
	mailto      = regexp.MustCompile(`(?i)\bmailto:`)
	principalID = regexp.MustCompile(`^([0-9]{1,20}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$`)
)

// Person is who is meant by a text that a person wrote: the address of
// "Ann <ann@example.com>", "mailto:ann@example.com" and "ann@example.com (lead)",
// or the id of a principal, numeric or that of an application.
func Person(text string) (string, error) {
	text = strings.TrimSpace(mailto.ReplaceAllString(text, ""))
	if principalID.MatchString(text) {
		return text, nil
	}
	address, err := mail.ParseAddress(text)
	if err != nil {
		return text, fmt.Errorf("%q is neither an e-mail address nor the id of a principal", text)
	}
	return address.Address, nil
}

// SamePerson reports whether two texts mean one person, however each is written.
func SamePerson(a, b string) bool {
	a, _ = Person(a) // what is no address is compared as it stands
	b, _ = Person(b)
	return a != "" && strings.EqualFold(a, b)
}
