package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"strconv"

	"patrol/engine"
)

// digestVersion is how digests are made today. Version 1 is at the end of this file.
const digestVersion = 2

// digester writes rows into a SHA-256 in one unambiguous way. A row is a letter
// for its kind, its fields and a zero byte. A field is its number, a letter for
// its type and its value. Absent fields are left out, and the number of a field
// never changes: a new field changes no digest of rows that do not have it.
type digester struct {
	version int
	sum     hash.Hash
	buf     []byte
	tokens  int // so many of them
}

func newDigester(version int) *digester {
	d := newDigesterOf("patrol snapshot " + strconv.Itoa(version))
	d.version = version
	return d
}

func newDigesterOf(what string) *digester {
	d := &digester{sum: sha256.New()}
	d.buf = append(d.buf, 's')
	d.bytes(what)
	return d
}

func (d *digester) bytes(s string) {
	d.buf = binary.AppendUvarint(d.buf, uint64(len(s)))
	d.buf = append(d.buf, s...)
}

func (d *digester) field(number uint64, kind byte) {
	d.buf = append(binary.AppendUvarint(d.buf, number), kind)
}

// text leaves out an empty one.
func (d *digester) text(number uint64, s string) {
	if s != "" {
		d.field(number, 's')
		d.bytes(s)
	}
}

// integer leaves out nil, and keeps 0.
func (d *digester) integer(number uint64, n *int64) {
	if n != nil {
		d.field(number, 'i')
		d.buf = binary.BigEndian.AppendUint64(d.buf, uint64(*n)) //nolint:gosec // the bits count, not the sign
	}
}

// count leaves out 0.
func (d *digester) count(number uint64, n int64) {
	if n != 0 {
		d.integer(number, &n)
	}
}

// textList leaves out an empty list.
func (d *digester) textList(number uint64, list []string) {
	if len(list) == 0 {
		return
	}
	d.field(number, 'l')
	d.buf = binary.AppendUvarint(d.buf, uint64(len(list)))
	for _, s := range list {
		d.bytes(s)
	}
}

func (d *digester) row(kind byte) { d.buf = append(d.buf, kind) }

func (d *digester) end() {
	d.buf = append(d.buf, 0)
	d.flush()
}

// flush hands the bytes of one row over.
func (d *digester) flush() {
	d.sum.Write(d.buf)
	d.buf = d.buf[:0]
}

// header covers everything of a snapshot but its rows.
func (d *digester) header(s engine.Snapshot) {
	if d.version == 1 {
		d.header1(s)
		return
	}
	d.row('H')
	d.text(1, s.Workspace.ID)
	d.text(2, s.Workspace.Name)
	d.text(3, s.Workspace.Host)
	d.text(4, s.Workspace.Cloud)
	collected := s.CollectedAt.UnixMilli()
	d.integer(5, &collected)
	d.text(6, s.Previous)
	d.end()
	for _, label := range engine.SortedKeys(s.Workspace.Labels) {
		d.row('L')
		d.text(1, label)
		d.text(2, s.Workspace.Labels[label])
		d.end()
	}
	for _, name := range engine.SortedKeys(s.Coverage) {
		c := s.Coverage[name]
		d.row('S')
		d.text(1, string(name))
		d.text(2, string(c.Status))
		d.text(3, c.Reason)
		d.text(4, c.Detail)
		d.text(5, c.Hint)
		d.count(6, int64(c.Count))
		d.text(7, string(s.Documents[name]))
		d.end()
	}
}

func (d *digester) principal(p engine.Principal) {
	if d.version == 1 {
		d.principal1(p)
		return
	}
	d.row('P')
	d.text(1, p.ID)
	d.text(2, string(p.Kind))
	d.text(3, p.Name)
	d.text(4, p.DisplayName)
	d.integer(5, truth(p.Active))
	d.integer(6, truth(p.Admin))
	d.textList(7, p.Groups)
	d.text(8, string(p.Raw))
	d.end()
}

func (d *digester) token(t *engine.Token) {
	d.tokens++
	if d.version == 1 {
		d.token1(*t)
		return
	}
	d.row('T')
	for _, f := range engine.StoredFields() {
		switch {
		case f.Text != nil:
			d.text(f.Place, *f.Text(t))
		case f.Time != nil:
			d.integer(f.Place, *f.Time(t))
		default:
			d.textList(f.Place, *f.Texts(t))
		}
	}
	for _, defect := range t.Defects {
		d.textList(13, []string{defect.Field, defect.Reason, defect.Value})
	}
	if len(t.Raw) > 0 {
		d.field(14, 's')
		d.buf = binary.AppendUvarint(d.buf, uint64(len(t.Raw)))
		d.buf = append(d.buf, t.Raw...)
	}
	d.end()
}

func (d *digester) activity(a engine.Activity) {
	if d.version == 1 {
		d.activity1(a)
		return
	}
	d.row('A')
	d.text(1, a.TokenID)
	d.count(2, a.Events)
	d.count(3, a.First)
	d.count(4, a.Last)
	d.count(5, a.MaxIPsPerDay)
	d.textList(6, a.UserAgents)
	if more := a.Detail; more != nil {
		d.integer(7, &more.Days)
		d.count(8, more.Succeeded)
		d.count(9, more.Refused)
		d.count(10, more.Addresses)
		d.text(11, more.TopAddress)
		for _, c := range more.Calls {
			d.textList(12, []string{c.Service, c.Action, strconv.FormatInt(c.Events, 10), strconv.FormatInt(c.Refused, 10)})
		}
		d.count(13, more.MoreCalls)
	}
	d.end()
}

func (d *digester) hex() string {
	d.row('E')
	d.flush()
	return hex.EncodeToString(d.sum.Sum(nil))
}

// truth is a truth as a number; nil: not known.
func truth(b *bool) *int64 {
	if b == nil {
		return nil
	}
	n := bit(*b)
	return &n
}

// The first way to make a digest, which wrote every field in a fixed order, so
// that no field could be added. It stays for the snapshots that it sealed and
// never changes.

func (d *digester) texts(s ...string) {
	for _, one := range s {
		d.buf = append(d.buf, 's')
		d.bytes(one)
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

func (d *digester) raw(raw json.RawMessage) {
	if raw == nil {
		d.buf = append(d.buf, 'n')
		return
	}
	d.buf = append(d.buf, 'j')
	d.bytes(string(raw))
}

func (d *digester) header1(s engine.Snapshot) {
	d.buf = append(d.buf, 'H')
	d.texts(s.Workspace.ID, s.Workspace.Name, s.Workspace.Host, s.Workspace.Cloud)
	for _, label := range engine.SortedKeys(s.Workspace.Labels) {
		d.buf = append(d.buf, 'l')
		d.texts(label, s.Workspace.Labels[label])
	}
	d.number(s.CollectedAt.UnixMilli())
	d.texts(s.Previous)
	for _, name := range engine.SortedKeys(s.Coverage) {
		c := s.Coverage[name]
		d.buf = append(d.buf, 'S')
		d.texts(string(name), string(c.Status), c.Reason, c.Detail, c.Hint)
		d.number(int64(c.Count))
		d.raw(s.Documents[name])
	}
	d.flush()
}

func (d *digester) principal1(p engine.Principal) {
	d.buf = append(d.buf, 'P')
	d.texts(p.ID, string(p.Kind), p.Name, p.DisplayName)
	d.optional(truth(p.Active))
	d.optional(truth(p.Admin))
	d.list(p.Groups)
	d.raw(p.Raw)
	d.flush()
}

func (d *digester) token1(t engine.Token) {
	d.buf = append(d.buf, 'T')
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
}

func (d *digester) activity1(a engine.Activity) {
	d.buf = append(d.buf, 'A')
	d.texts(a.TokenID)
	for _, n := range []int64{a.Events, a.First, a.Last, a.MaxIPsPerDay} {
		d.number(n)
	}
	d.list(a.UserAgents)
	d.flush()
}
