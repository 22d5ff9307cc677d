package store

import (
	"cmp"
	"encoding/json"
	"fmt"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const principalColumns = `principal_id, kind, name, display_name, active, admin, groups, raw`

const principalWidth = 8

// principalRow is a principal as its row; see tokenRow.
type principalRow [principalWidth]any

func (r principalRow) id() string { return r[0].(string) }

func encodePrincipal(p engine.Principal) principalRow {
	var active any
	if p.Active != nil {
		active = bit(*p.Active)
	}
	admin := adminUnknown
	if p.Admin != nil {
		admin = bit(*p.Admin)
	}
	return principalRow{
		p.ID, string(p.Kind), p.Name, p.DisplayName, active, admin, encodeList(p.Groups), sqlite.TextOrNil(string(p.Raw)),
	}
}

func readPrincipal(c *sqlite.Row, known *lists) (engine.Principal, error) {
	p := engine.Principal{ID: c.Text(), Kind: engine.Kind(c.Text()), Name: c.Text(), DisplayName: c.Text()}
	p.Active, p.Admin = c.BoolOrNull(), readAdmin(c)
	groups, raw := c.TextOrNull(), c.TextOrNull()
	if c.Err != nil {
		return p, c.Err
	}
	if raw != "" {
		p.Raw = json.RawMessage(raw)
	}
	var err error
	if p.Groups, err = known.decode(groups); err != nil {
		return p, fmt.Errorf("principal %s: %w", p.ID, err)
	}
	return p, nil
}

// adminUnknown is what the column has, which is never NULL, where it is not
// known whether a principal is an admin.
const adminUnknown int64 = -1

func readAdmin(c *sqlite.Row) *bool {
	switch n := c.Int(); n {
	case adminUnknown:
		return nil
	case 0, 1:
		return new(n == 1)
	default:
		c.Err = cmp.Or(c.Err, fmt.Errorf("stored row is damaged: admin is %d", n))
		return nil
	}
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
