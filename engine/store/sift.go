package store

import (
	"context"
	"iter"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
)

const opSift = "sift tokens"

// Sift streams the tokens of a snapshot as Subjects does, without their raw
// rows. Those on which no rule can come to anything are spared, unless a rule
// wants each token anyway: then asking would only add to the reading.
func (db *DB) Sift(ctx context.Context, snapshotID int64, asOf time.Time, r engine.SiftRequest) (engine.Sifted, error) {
	s, err := db.Snapshot(ctx, snapshotID)
	if err != nil {
		return engine.Sifted{}, err
	}
	out, err := db.sift(ctx, s, asOf.UnixMilli(), r)
	return out, failure(opSift, db.path, err)
}

func (db *DB) sift(ctx context.Context, s engine.Snapshot, asOf int64, r engine.SiftRequest) (out engine.Sifted, err error) {
	q := &siftQuery{}
	if len(r.Rules) > 0 && !r.Among && usable(s, engine.SectionTokens) {
		q = newSiftQuery(r.Rules, directoryOf(s))
	}
	if q.spares() {
		if out.Spared, err = db.countTokens(ctx, s, asOf); err != nil {
			return engine.Sifted{}, err
		}
	}
	out.Tokens = db.subjectsOf(ctx, s, asOf, db.siftTokens(ctx, s, asOf, q))
	if r.Among && usable(s, engine.SectionTokens) {
		out.Tokens = db.standing(ctx, s, asOf, out.Tokens)
	}
	return out, nil
}

func (db *DB) countTokens(ctx context.Context, s engine.Snapshot, asOf int64) (*engine.Spared, error) {
	workspace, err := db.workspaceKey(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	n := &engine.Spared{}
	query := `SELECT count(*), coalesce(sum(v.expires_ms <> -1 AND v.expires_ms <= ?3), 0) FROM token_version v WHERE ` + holds
	err = db.sql.QueryRowContext(ctx, query, s.ID, workspace, asOf).Scan(&n.Total, &n.Expired)
	return n, err
}

// siftTokens reads the tokens of a query without their raw rows, which no policy
// sees.
func (db *DB) siftTokens(ctx context.Context, s engine.Snapshot, asOf int64, q *siftQuery) iter.Seq2[storedToken, error] {
	return func(yield func(storedToken, error) bool) {
		if !usable(s, engine.SectionTokens) {
			return
		}
		workspace, err := db.workspaceKey(ctx, s.ID)
		if err != nil {
			yield(storedToken{}, err)
			return
		}
		reader := tokenReader{shapes: &shapes{}}
		args := append([]any{s.ID, workspace, asOf}, q.args...)
		for c, err := range scan(ctx, db.sql, q.text(), args...) {
			var t storedToken
			if err == nil {
				t.row = c.integer()
				t.Token, err = reader.read(c)
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// siftQuery is the condition on tokens that rules make together. The zero value
// spares none.
type siftQuery struct {
	facts  map[engine.Fact]factColumn
	doubts map[doubt]string
	args   []any // after ?1 snapshot, ?2 workspace, ?3 instant (ms)
	joins  join
	where  []string // alternatives
	every  string   // why each token is wanted; "" when some can be spared
	plain  bool     // write constants into the text, for readers
}

func newSiftQuery(rules []engine.SiftRule, d directoryRead) *siftQuery {
	q := &siftQuery{facts: factColumns(), doubts: d.doubts(), where: []string{isDisputed}}
	var doubts doubt
	for _, rule := range rules {
		more, why := q.rule(rule)
		if why != "" {
			return &siftQuery{every: rule.Policy + ": " + why}
		}
		doubts |= more
	}
	q.addDoubts(doubts)
	if q.every != "" {
		return &siftQuery{every: q.every}
	}
	return q
}

// rule adds when a rule may come to something, and returns which doubts make it
// unknown.
func (q *siftQuery) rule(rule engine.SiftRule) (doubts doubt, why string) {
	for _, name := range rule.Facts {
		fact, known := q.facts[name]
		if !known {
			return 0, "SQL does not know " + string(name)
		}
		doubts |= fact.doubt
	}
	condition, _ := q.condition(rule.Fires)
	if condition == always {
		return 0, "SQL cannot ask when it fires"
	}
	if condition != never {
		q.where = append(q.where, and(judgedBy(rule.Judges), condition))
	}
	return doubts, ""
}

// judgedBy is which tokens a policy judges; one of unknown expiry counts as live.
func judgedBy(which engine.Judges) string {
	switch which {
	case engine.JudgesAll:
		return always
	case engine.JudgesExpired:
		return isExpired
	}
	return "(v.expires_ms IS NULL OR v.expires_ms = -1 OR v.expires_ms > ?3)"
}

func (q *siftQuery) addDoubts(doubts doubt) {
	for d := doubt(1); d < everyDoubt; d <<= 1 {
		if doubts&d == 0 {
			continue
		}
		q.joins |= d.joins()
		if q.doubts[d] == always {
			q.every = "the directory was not read"
		}
		q.where = append(q.where, q.doubts[d])
	}
}

// spares reports whether there is a condition at all.
func (q *siftQuery) spares() bool { return q.every == "" && len(q.where) > 0 }

func (q *siftQuery) text() string {
	condition := ""
	if q.spares() {
		condition = "\n\tAND (" + strings.Join(q.where, "\n\tOR ") + ")"
	}
	return q.joins.tables() + `SELECT v.version, v.token_id, v.created_ms, v.expires_ms, v.owner_id, v.creator_id, v.creator_name, v.comment,
	v.scopes, v.autoscope_state, v.inferred_scopes, v.backfill_scopes, v.defects, NULL, NULL, ` + usedMs + `
	FROM ` + q.joins.from() + `
	WHERE ` + holds + condition + `
	ORDER BY v.token_id`
}

// constant binds a value, or shows it.
func (q *siftQuery) constant(c engine.Constant) string {
	value := c.Of
	if truth, ok := value.(bool); ok {
		value = bit(truth)
	}
	if q.plain {
		return literal(value)
	}
	q.args = append(q.args, value)
	return "?" + strconv.Itoa(len(q.args)+3)
}

func literal(value any) string {
	switch v := value.(type) {
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return "NULL"
}

// SiftSQL shows what SQL is asked of a rule, under which conditions its tokens
// are read. why tells when each is.
func SiftSQL(rule engine.SiftRule) (where, why string) {
	q := newShown()
	doubts, why := q.rule(rule)
	if why != "" {
		return "", why
	}
	q.addDoubts(doubts)
	return strings.Join(q.where, "\nOR "), ""
}

// ScanSQL counts on how many tokens of snapshot ?1 of workspace ?2 the condition
// of each rule holds at ?3 (ms): the least that has to be asked of the database
// to judge them. Rules of which SQL can ask nothing are left out.
func ScanSQL(rules []engine.SiftRule) string {
	q := newShown()
	var counts []string
	for _, rule := range rules {
		condition, _ := q.condition(rule.Fires)
		if condition != always && condition != never {
			counts = append(counts, "total("+and(judgedBy(rule.Judges), condition)+")")
		}
	}
	return q.joins.tables() + "SELECT " + strings.Join(counts, ",\n\t") + "\n\tFROM " + q.joins.from() + "\n\tWHERE " + holds
}

func newShown() *siftQuery {
	d := directoryRead{read: true, whole: true}
	return &siftQuery{facts: factColumns(), doubts: d.doubts(), where: []string{isDisputed}, plain: true}
}
