package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strconv"

	"patrol/engine"
)

// digestVersion is how digests are made today. Those of version 1 are in digest1.go.
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
	d.text(1, t.ID)
	d.text(2, t.Comment)
	d.integer(3, t.Created)
	d.integer(4, t.Expires)
	d.integer(5, t.LastUsed)
	d.text(6, t.OwnerID)
	d.text(7, t.CreatorID)
	d.text(8, t.CreatorName)
	d.text(9, t.AutoscopeState)
	d.textList(10, t.Scopes)
	d.textList(11, t.InferredScopes)
	d.textList(12, t.BackfillScopes)
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
