package eval

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
)

// facts is a set of fields of input.token, input.owner and input.creator.
type facts uint64

// table numbers the fields: bit 1<<i is that of fields[i].
var table = sync.OnceValue(func() (t struct {
	fields []engine.Field
	bits   map[string]facts
	peers  facts // for which tokens must be compared
	log    facts
}) {
	t.fields, t.bits = engine.Fields(), map[string]facts{}
	for i, f := range t.fields {
		t.bits[f.Name] = 1 << i
		if f.Peers {
			t.peers |= 1 << i
		}
		if f.Log {
			t.log |= 1 << i
		}
	}
	return t
})

// names lists the fields of a set, sorted.
func (set facts) names() []string {
	var names []string
	for i, f := range table().fields {
		if set&(1<<i) != 0 {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}

// objectOf is the object of input that holds a field, and the field's name in it.
func objectOf(name string) (object, field string) {
	if object, field, ofParty := strings.Cut(name, "."); ofParty {
		return object, field
	}
	return "token", name
}

// factsUnder is the set of fields that a ref reads; known is false when it
// names a field that no input has.
func factsUnder(ref ast.Ref) (set facts, known bool) {
	object, name := word(ref, 1), word(ref, 2)
	for i, f := range table().fields {
		in, field := objectOf(f.Name)
		if len(ref) == 1 || in == object && (name == "" || field == name) {
			set |= 1 << i
		}
	}
	return set, set != 0 || object != "token" && object != "owner" && object != "creator"
}

// subject is a token with what is unknown of it.
type subject struct {
	engine.Subject
	unknown facts
}

// newSubject finds out what is unknown of a token in a workspace.
func (v *workspaceView) newSubject(s engine.Subject) *subject {
	known := &subject{Subject: s}
	v.findUnknown(known)
	return known
}

func (v *workspaceView) findUnknown(s *subject) {
	s.unknown = 0
	for i, f := range table().fields {
		if f.Unknown(&s.Subject, v.known) {
			s.unknown |= 1 << i
		}
	}
}

// seen is the part of a token's input that a policy refers to. The whole input has
// some fifty fields, a policy refers to three: building no more is most of the cost saved.
type seen []seenObject

// seenObject is token, owner or creator.
type seenObject struct {
	key    *ast.Term
	fields []seenField
}

type seenField struct {
	engine.Field
	bit facts
	key *ast.Term
}

func seenBy(read facts) (all seen) {
	for i, f := range table().fields {
		if read&(1<<i) == 0 {
			continue
		}
		object, name := objectOf(f.Name)
		key := ast.InternedTerm(object)
		if len(all) == 0 || !all[len(all)-1].key.Equal(key) {
			all = append(all, seenObject{key: key})
		}
		last := &all[len(all)-1]
		last.fields = append(last.fields, seenField{f, 1 << i, ast.InternedTerm(name)})
	}
	return all
}

// pairs are the objects of input with what is known of a token.
func (all seen) pairs(v *workspaceView, s *subject) [][2]*ast.Term {
	pairs := make([][2]*ast.Term, 0, len(all)+3)
	for _, one := range all {
		fields := make(object, 0, len(one.fields))
		for _, f := range one.fields {
			if s.unknown&f.bit != 0 || f.Log && !v.known.LogRead {
				continue
			}
			if term := termOf(f.Field, &s.Subject); term != nil {
				fields = append(fields, [2]*ast.Term{f.key, term})
			}
		}
		pairs = append(pairs, [2]*ast.Term{one.key, fields.term()})
	}
	return pairs
}

func termOf(f engine.Field, s *engine.Subject) *ast.Term {
	switch {
	case f.Number != nil:
		return numberTerm(f.Number(s))
	case f.Truth != nil:
		return truthTerm(f.Truth(s))
	case f.Texts != nil:
		return textsTerm(f.Texts(s))
	case f.Time != nil:
		if ms := f.Time(s); ms != nil {
			return ast.StringTerm(rfc3339(time.UnixMilli(*ms)))
		}
	default:
		if text := f.Text(s); text != nil {
			return ast.StringTerm(*text)
		}
	}
	return nil
}

func numberTerm(n *int64) *ast.Term {
	if n == nil {
		return nil
	}
	return ast.IntNumberTerm(int(*n))
}

func truthTerm(b *bool) *ast.Term {
	if b == nil {
		return nil
	}
	return ast.InternedTerm(*b)
}
