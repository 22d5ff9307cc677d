package engine

import (
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
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
		return text, nil
	}
	address, err := mail.ParseAddress(text)
	if err != nil {
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

// SamePerson reports whether two texts mean one person, however each is written.
func SamePerson(a, b string) bool {
	a, _ = Person(a) // what is no address is compared as it stands
	b, _ = Person(b)
	return a != "" && strings.EqualFold(a, b)
}
