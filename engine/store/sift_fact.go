package store

import (
	"strings"

	"patrol/engine"
)

// factColumn is a fact in SQL: bit for bit what engine.Derive and the directory
// make of the row, where the fact is known.
type factColumn struct {
	sql   string // NULL where the fact is absent
	kind  factKind
	joins join
	doubt doubt // when it is unknown, besides defects
}

// factKind is what SQL can do with a fact.
type factKind int

const (
	numberFact factKind = iota
	textFact
	truthFact  // 0 and 1
	listFact   // JSON; NULL is the empty list
	opaqueFact // SQL knows only whether there is one
)

// join is a set of tables that a fact needs besides the token's row v and its
// last use u.
type join int

const (
	ownerJoin join = 1 << iota
	creatorJoin
	ownerLiveJoin
	creatorLiveJoin
)

// doubt is a set of reasons why facts are unknown.
type doubt int

const (
	noCreation doubt = 1 << iota
	noExpiry
	noOwner
	noCreator
	noCreatorName
	ownerUnknown // the directory does not tell who it is
	ownerActiveUnknown
	creatorUnknown
	creatorActiveUnknown
	everyDoubt // one past the last
)

// directoryRead is how much of the principals was read.
type directoryRead struct{ read, whole bool }

func directoryOf(s engine.Snapshot) directoryRead {
	return directoryRead{usable(s, engine.SectionPrincipals), s.Coverage[engine.SectionPrincipals].Complete()}
}

// The dates of a row. ?3 is the instant (ms).
const (
	usedMs     = `(u.day * 86400000 + coalesce(u.ms, 0))`
	finiteMs   = `nullif(v.expires_ms, -1)`
	isExpired  = `(v.expires_ms <> -1 AND v.expires_ms <= ?3)`
	isDisputed = `v.defects IS NOT NULL`
)

// floorDays rounds towards the past, which SQL's division does not.
func floorDays(ms string) string {
	return "((" + ms + ") / 86400000 - ((" + ms + ") % 86400000 < 0))"
}

// factColumns lists the facts that SQL has.
func factColumns() map[engine.Fact]factColumn {
	age := floorDays("?3 - v.created_ms")
	columns := map[engine.Fact]factColumn{
		"id":              {sql: "v.token_id", kind: textFact},
		"comment":         {sql: "v.comment", kind: textFact},
		"owner_id":        {sql: "nullif(v.owner_id, '')", kind: textFact, doubt: noOwner},
		"creator_id":      {sql: "nullif(v.creator_id, '')", kind: textFact, doubt: noCreator},
		"creator_name":    {sql: "nullif(v.creator_name, '')", kind: textFact, doubt: noCreatorName},
		"on_behalf":       {sql: "(nullif(v.owner_id, '') <> nullif(v.creator_id, ''))", kind: truthFact, doubt: noOwner | noCreator},
		"scopes":          {sql: "v.scopes", kind: listFact},
		"inferred_scopes": {sql: "v.inferred_scopes", kind: listFact},
		"backfill_scopes": {sql: "v.backfill_scopes", kind: listFact},
		"autoscope_state": {sql: "v.autoscope_state", kind: opaqueFact}, // policies see it shortened

		"created_ms":   {sql: "v.created_ms", doubt: noCreation},
		"created_at":   {sql: "v.created_ms", kind: opaqueFact, doubt: noCreation},
		"age_days":     {sql: age, doubt: noCreation},
		"expires_ms":   {sql: finiteMs, doubt: noExpiry},
		"expires_at":   {sql: finiteMs, kind: opaqueFact, doubt: noExpiry},
		"last_used_ms": {sql: usedMs},
		"last_used_at": {sql: usedMs, kind: opaqueFact},

		"never_expires":   {sql: "(v.expires_ms = -1)", kind: truthFact, doubt: noExpiry},
		"expired":         {sql: isExpired, kind: truthFact, doubt: noExpiry},
		"expires_in_days": {sql: floorDays(finiteMs + " - ?3"), doubt: noExpiry},
		"lifetime_days":   {sql: "max(0, " + floorDays(finiteMs+" - v.created_ms + 86339999") + ")", doubt: noCreation | noExpiry},
		"used":            {sql: "(" + usedMs + " IS NOT NULL)", kind: truthFact},
		"idle_days":       {sql: "coalesce(max(0, " + floorDays("?3 - "+usedMs) + "), " + age + ")", doubt: noCreation},
	}
	addParty(columns, "owner", "v.owner_id", "o", ownerJoin, ownerLiveJoin, noOwner, ownerUnknown, ownerActiveUnknown)
	addParty(columns, "creator", "v.creator_id", "c", creatorJoin, creatorLiveJoin, noCreator, creatorUnknown, creatorActiveUnknown)
	return columns
}

// addParty adds the facts of an owner or creator. Whom a directory read whole
// does not hold is missing; whom one read in part does not hold is unknown.
func addParty(columns map[engine.Fact]factColumn, name, id, table string, row, live join, noID, unknown, activeUnknown doubt) {
	for fact, column := range map[string]factColumn{
		"id":           {sql: "nullif(" + id + ", '')", kind: textFact, doubt: noID},
		"kind":         {sql: "coalesce($.kind, 'missing')", kind: textFact, joins: row},
		"name":         {sql: "coalesce($.name, '')", kind: textFact, joins: row},
		"display_name": {sql: "coalesce($.display_name, '')", kind: textFact, joins: row},
		"active":       {sql: "(CASE WHEN $.principal_id IS NULL THEN 0 ELSE $.active END)", kind: truthFact, joins: row, doubt: activeUnknown},
		"admin":        {sql: "coalesce($.admin, 0)", kind: truthFact, joins: row},
		"groups":       {sql: "$.groups", kind: listFact, joins: row},
		"live_tokens":  {sql: "coalesce($l.n, 0)", joins: row | live},
	} {
		if fact != "id" {
			column.doubt |= unknown
		}
		column.sql = strings.ReplaceAll(column.sql, "$", table)
		columns[engine.Fact(name+"."+fact)] = column
	}
}

// doubts lists the reasons with the test for each. A test that cannot be false
// is "1".
func (d directoryRead) doubts() map[doubt]string {
	owner, creator := "1", "1"
	switch {
	case d.whole:
		owner, creator = "v.owner_id = '' OR o.kind = ''", "v.creator_id = '' OR c.kind = ''"
	case d.read:
		owner, creator = "o.principal_id IS NULL OR o.kind = ''", "c.principal_id IS NULL OR c.kind = ''"
	}
	return map[doubt]string{
		noCreation:           "v.created_ms IS NULL",
		noExpiry:             "v.expires_ms IS NULL",
		noOwner:              "v.owner_id = ''",
		noCreator:            "v.creator_id = ''",
		noCreatorName:        "v.creator_name = ''",
		ownerUnknown:         owner,
		ownerActiveUnknown:   "o.principal_id IS NOT NULL AND o.active IS NULL",
		creatorUnknown:       creator,
		creatorActiveUnknown: "c.principal_id IS NOT NULL AND c.active IS NULL",
	}
}

// joins are the tables that a test for a doubt needs.
func (d doubt) joins() join {
	switch d {
	case ownerUnknown, ownerActiveUnknown:
		return ownerJoin
	case creatorUnknown, creatorActiveUnknown:
		return creatorJoin
	}
	return 0
}

// from is the FROM clause of a set of joins.
func (j join) from() string {
	var b strings.Builder
	b.WriteString(`token_version v LEFT JOIN token_use u ON u.token_key = v.token_key
		AND u.since = (SELECT max(w.since) FROM token_use w WHERE w.token_key = v.token_key AND w.since <= ?1)`)
	for _, one := range []struct {
		join join
		text string
	}{
		{ownerJoin, partyJoin("o", "v.owner_id")},
		{creatorJoin, partyJoin("c", "v.creator_id")},
		{ownerLiveJoin, "LEFT JOIN live ol ON ol.owner_id = v.owner_id"},
		{creatorLiveJoin, "LEFT JOIN live cl ON cl.owner_id = v.creator_id"},
	} {
		if j&one.join != 0 {
			b.WriteString("\n\t" + one.text)
		}
	}
	return b.String()
}

func partyJoin(table, id string) string {
	return strings.NewReplacer("$", table, "#", id).Replace(
		`LEFT JOIN principal_version $ ON $.workspace_key = ?2 AND $.principal_id = # AND $.since <= ?1 AND ($.until IS NULL OR $.until > ?1)`)
}

// tables is the WITH clause of a set of joins.
func (j join) tables() string {
	if j&(ownerLiveJoin|creatorLiveJoin) == 0 {
		return ""
	}
	return "WITH live (owner_id, n) AS MATERIALIZED (" + liveQuery + ")\n"
}
