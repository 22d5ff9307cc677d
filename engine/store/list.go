package store

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Lists of strings are stored as JSON arrays, so that SQL can look into them.
// Unlike encoding/json, this encoding keeps bytes that are not UTF-8.

const hexDigits = "0123456789abcdef"

// encodeList returns nil for an empty list.
func encodeList(list []string) any {
	if len(list) == 0 {
		return nil
	}
	return string(appendList(make([]byte, 0, 16*len(list)+2), list))
}

func appendList(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, s)
	}
	return append(b, ']')
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

var errList = errors.New("stored list is damaged")

func decodeList(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) < 2 || text[0] != '[' || text[len(text)-1] != ']' {
		return nil, errList
	}
	var list []string
	for rest := text[1:]; ; {
		item, tail, err := unquote(rest)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
		if tail == "]" {
			return list, nil
		}
		if tail == "" || tail[0] != ',' {
			return nil, errList
		}
		rest = tail[1:]
	}
}

// unquote reads one string and returns what follows it.
func unquote(text string) (item, tail string, err error) {
	if text == "" || text[0] != '"' {
		return "", "", errList
	}
	text = text[1:]
	end := strings.IndexAny(text, `"\`)
	if end >= 0 && text[end] == '"' {
		return text[:end], text[end+1:], nil
	}
	return unescape(text)
}

func unescape(text string) (item, tail string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return b.String(), text[i+1:], nil
		case text[i] != '\\':
			b.WriteByte(text[i])
		case strings.HasPrefix(text[i:], `\"`), strings.HasPrefix(text[i:], `\\`):
			b.WriteByte(text[i+1])
			i++
		case strings.HasPrefix(text[i:], `\u00`) && len(text) >= i+6:
			c := strings.IndexByte(hexDigits, text[i+4])<<4 | strings.IndexByte(hexDigits, text[i+5])
			if c < 0 || c >= utf8.RuneSelf {
				return "", "", errList
			}
			b.WriteByte(byte(c))
			i += 5
		default:
			return "", "", errList
		}
	}
	return "", "", errList
}

// lists decodes stored lists and remembers them: few different ones occur.
// The slices are shared; who gets one must not change it.
type lists struct{ known map[string][]string }

const maxKnownLists = 4096

func (l *lists) decode(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	if list, ok := l.known[text]; ok {
		return list, nil
	}
	list, err := decodeList(text)
	if err != nil {
		return nil, err
	}
	if l.known == nil || len(l.known) >= maxKnownLists {
		l.known = map[string][]string{}
	}
	list = list[:len(list):len(list)]
	l.known[text] = list
	return list, nil
}
