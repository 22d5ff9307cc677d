package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"

	"patrol/engine"
)

// digester writes a snapshot into a SHA-256 in one unambiguous way: every row
// starts with a letter for its kind, a text is its length and its bytes, a
// number eight bytes, and an absent value a letter of its own.
type digester struct {
	sum    hash.Hash
	buf    []byte
	tokens int // so many of them
}

func newDigester() *digester {
	d := &digester{sum: sha256.New()}
	d.text("patrol snapshot 1")
	return d
}

func (d *digester) text(s string) {
	d.buf = append(d.buf, 's')
	d.buf = binary.AppendUvarint(d.buf, uint64(len(s)))
	d.buf = append(d.buf, s...)
}

func (d *digester) texts(s ...string) {
	for _, one := range s {
		d.text(one)
	}
}

func (d *digester) list(list []string) {
	d.number(int64(len(list)))
	d.texts(list...)
}

func (d *digester) number(n int64) {
	d.buf = append(d.buf, 'i')
	d.buf = binary.BigEndian.AppendUint64(d.buf, uint64(n)) //nolint:gosec // the bits count, not the sign
}

func (d *digester) optional(n *int64) {
	if n == nil {
		d.buf = append(d.buf, 'n')
		return
	}
	d.number(*n)
}

func (d *digester) truth(b *bool) {
	if b == nil {
		d.optional(nil)
		return
	}
	d.number(bit(*b))
}

func (d *digester) raw(raw json.RawMessage) {
	if raw == nil {
		d.buf = append(d.buf, 'n')
		return
	}
	d.buf = append(d.buf, 'j')
	d.buf = binary.AppendUvarint(d.buf, uint64(len(raw)))
	d.buf = append(d.buf, raw...)
}

func (d *digester) row(kind byte) { d.buf = append(d.buf, kind) }

// flush hands the bytes of one row over.
func (d *digester) flush() {
	d.sum.Write(d.buf)
	d.buf = d.buf[:0]
}

// header covers everything of a snapshot but its rows.
func (d *digester) header(s engine.Snapshot) {
	d.row('H')
	d.texts(s.Workspace.ID, s.Workspace.Name, s.Workspace.Host, s.Workspace.Cloud)
	for _, label := range engine.SortedKeys(s.Workspace.Labels) {
		d.row('l')
		d.texts(label, s.Workspace.Labels[label])
	}
	d.number(s.CollectedAt.UnixMilli())
	d.text(s.Previous)
	for _, name := range engine.SortedKeys(s.Coverage) {
		d.section(name, s.Coverage[name], s.Documents[name])
	}
	d.flush()
}

func (d *digester) section(name engine.SectionName, c engine.Coverage, document json.RawMessage) {
	d.row('S')
	d.texts(string(name), string(c.Status), c.Reason, c.Detail, c.Hint)
	d.number(int64(c.Count))
	d.raw(document)
}

func (d *digester) principal(p engine.Principal) {
	d.row('P')
	d.texts(p.ID, string(p.Kind), p.Name, p.DisplayName)
	d.truth(p.Active)
	d.truth(p.Admin)
	d.list(p.Groups)
	d.raw(p.Raw)
	d.flush()
}

func (d *digester) token(t engine.Token) {
	d.row('T')
	d.texts(t.ID, t.Comment)
	d.optional(t.Created)
	d.optional(t.Expires)
	d.optional(t.LastUsed)
	d.texts(t.OwnerID, t.CreatorID, t.CreatorName, t.AutoscopeState)
	d.list(t.Scopes)
	d.list(t.InferredScopes)
	d.list(t.BackfillScopes)
	d.number(int64(len(t.Defects)))
	for _, defect := range t.Defects {
		d.texts(defect.Field, defect.Reason, defect.Value)
	}
	d.raw(t.Raw)
	d.flush()
	d.tokens++
}

func (d *digester) hex() string {
	d.row('E')
	d.flush()
	return hex.EncodeToString(d.sum.Sum(nil))
}
