package eval

import (
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
)

// peerFields are those for which tokens must be compared with one another.
var peerFields = sync.OnceValue(func() engine.FieldSet {
	return engine.FieldsWhere(func(f engine.Field) bool { return f.Peers })
})

// subject is a token with what is unknown of it.
type subject struct {
	engine.Subject
	unknown engine.FieldSet
}

// newSubject finds out what is unknown of a token in a workspace.
func (v *workspaceView) newSubject(s engine.Subject) *subject {
	known := &subject{Subject: s}
	v.findUnknown(known)
	return known
}

func (v *workspaceView) findUnknown(s *subject) {
	s.unknown = 0
	for i, f := range engine.Fields() {
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
	bit engine.FieldSet
	key *ast.Term
}

func seenBy(read engine.FieldSet) (all seen) {
	for i, f := range engine.Fields() {
		if read&(1<<i) == 0 {
			continue
		}
		object, name := f.Place()
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
