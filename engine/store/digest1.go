package store

import (
	"encoding/binary"
	"encoding/json"

	"patrol/engine"
)

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
