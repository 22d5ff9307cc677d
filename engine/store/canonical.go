package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// canonical gives JSON its one form: compact, members sorted by the bytes of
// their names as written (equal names keep their order), numbers and strings
// with the text they came with. Nothing is lost but white space and order.
func canonical(text json.RawMessage) (string, error) {
	var compact bytes.Buffer
	compact.Grow(len(text))
	if err := json.Compact(&compact, text); err != nil {
		return "", fmt.Errorf("is not JSON: %w", err)
	}
	s := sorter{text: compact.String()}
	s.value()
	return s.result(), nil
}

// sorter walks over compact, valid JSON and writes it out again from the first
// object on that is not sorted.
type sorter struct {
	text string
	at   int
	out  []byte // replaces text[:done]; nil while nothing was moved
	done int
}

func (s *sorter) result() string {
	if s.out == nil {
		return s.text
	}
	return string(append(s.out, s.text[s.done:]...))
}

func (s *sorter) value() {
	switch s.text[s.at] {
	case '{':
		s.object()
	case '[':
		s.array()
	case '"':
		s.str()
	default:
		for s.at < len(s.text) && !strings.ContainsRune(",]}", rune(s.text[s.at])) {
			s.at++
		}
	}
}

func (s *sorter) str() {
	for s.at++; s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}

func (s *sorter) array() {
	s.at++
	for s.text[s.at] != ']' {
		s.value()
		if s.text[s.at] == ',' {
			s.at++
		}
	}
	s.at++
}

type member struct{ name, text string }

// object sorts the members of one object, each of them canonical already.
func (s *sorter) object() {
	start := s.at
	s.at++
	var members []member
	moved := false
	for s.text[s.at] != '}' {
		m, changed := s.member()
		moved = moved || changed || len(members) > 0 && members[len(members)-1].name > m.name
		members = append(members, m)
		if s.text[s.at] == ',' {
			s.at++
		}
	}
	s.at++
	if moved {
		s.replace(start, members)
	}
}

func (s *sorter) member() (m member, changed bool) {
	start := s.at
	name := s.memberName()
	valueAt := s.at
	inner := sorter{text: s.text, at: valueAt, done: valueAt}
	inner.value()
	s.at = inner.at
	if inner.out == nil {
		return member{name, s.text[start:s.at]}, false
	}
	return member{name, s.text[start:valueAt] + string(inner.out) + s.text[inner.done:s.at]}, true
}

func (s *sorter) replace(start int, members []member) {
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	s.out = append(s.out, s.text[s.done:start]...)
	s.out = append(s.out, '{')
	for i, m := range members {
		if i > 0 {
			s.out = append(s.out, ',')
		}
		s.out = append(s.out, m.text...)
	}
	s.out = append(s.out, '}')
	s.done = s.at
}

// memberName steps over the name of a member and its colon.
func (s *sorter) memberName() string {
	start := s.at
	s.str()
	name := s.text[start+1 : s.at-1]
	s.at++ // colon
	return name
}

// skip steps over a value without sorting it.
func (s *sorter) skip() {
	depth := 0
	for {
		switch s.text[s.at] {
		case '"':
			s.str()
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			if depth == 0 {
				return
			}
			depth--
			s.at++
		case ',':
			if depth == 0 {
				return
			}
			s.at++
		default:
			s.at++
		}
	}
}
