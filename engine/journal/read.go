package journal

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"

	"errors"
	"fmt"
	"iter"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opReadJournal = "read journal"

// PlanRecord is a plan that the journal knows.
type PlanRecord struct {
	SHA   string
	Bytes []byte
	At    int64 // when it was first applied, ms
}

const selectPlans = `SELECT sha, body, registered_ms FROM plan ORDER BY registered_ms, sha`

// Plans lists the plans in the order in which they were first applied.
func (j *Journal) Plans(ctx context.Context) ([]PlanRecord, error) {
	var plans []PlanRecord
	for plan, err := range rowsOf(ctx, j.db, readPlan, selectPlans) {
		if err != nil {
			return nil, err
		}
		plans = append(plans, plan)
	}
	return plans, nil
}

// PlansOf is Plans of those whose digest or id begins with a text; the bytes of
// others are not handed out.
func (j *Journal) PlansOf(ctx context.Context, beginning string) ([]PlanRecord, error) {
	if beginning == "" {
		return j.Plans(ctx)
	}
	var plans []PlanRecord
	for plan, err := range rowsOf(ctx, j.db, readPlan, `SELECT sha, body, registered_ms FROM plan WHERE `+planBegins+` ORDER BY registered_ms, sha`, beginning) {
		if err != nil {
			return nil, err
		}
		plans = append(plans, plan)
	}
	return plans, nil
}

// planBegins selects plans whose digest or id begins with ?1.
const planBegins = `(substr(sha, 1, length(?1)) = ?1
	OR CASE WHEN json_valid(CAST(body AS TEXT)) THEN substr(json_extract(CAST(body AS TEXT), '$.plan_id'), 1, length(?1)) = ?1 END)`

// LastPlan is, of the plans whose digest or id begins with a text, the one first
// applied last; nil when there is none. It reads the bytes of that one only.
func (j *Journal) LastPlan(ctx context.Context, beginning string) (*PlanRecord, error) {
	const chosen = `SELECT sha, body, registered_ms FROM plan WHERE sha = (
		SELECT sha FROM plan WHERE ` + planBegins + `
		ORDER BY registered_ms DESC, sha DESC LIMIT 1)`
	for plan, err := range rowsOf(ctx, j.db, readPlan, chosen, beginning) {
		return &plan, err
	}
	return nil, nil
}

func readPlan(rows *sql.Rows) (p PlanRecord, err error) {
	err = rows.Scan(&p.SHA, &p.Bytes, &p.At)
	return p, err
}

// Entries lists where the steps of a plan stand, by step id.
func (j *Journal) Entries(ctx context.Context, plan string) ([]engine.Entry, error) {
	var entries []engine.Entry
	for entry, err := range rowsOf(ctx, j.db, readEntry, `SELECT `+entryColumns+` FROM item WHERE plan_sha = ? ORDER BY item_id`, plan) {
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// Events streams the history of a plan, or of all plans for "", oldest first.
func (j *Journal) Events(ctx context.Context, plan string) iter.Seq2[engine.JournalEvent, error] {
	return rowsOf(ctx, j.db, readEvent, `SELECT `+eventColumns+` FROM event WHERE ?1 = '' OR plan_sha = ?1 ORDER BY seq`, plan)
}

// rowsOf streams the rows of a query.
func rowsOf[T any](ctx context.Context, db *sqlite.DB, read func(*sql.Rows) (T, error), query string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		rows, err := db.SQL.QueryContext(ctx, query, args...)
		if err != nil {
			yield(zero, sqlite.Failure(opReadJournal, db.Path, err))
			return
		}
		defer func() { _ = rows.Close() }() // Err tells
		for rows.Next() {
			row, err := read(rows)
			if !yield(row, sqlite.Failure(opReadJournal, db.Path, err)) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(zero, sqlite.Failure(opReadJournal, db.Path, err))
		}
	}
}

// Check is what Verify looked at.
type Check struct {
	Events int
	Steps  int
	Plans  int
	Head   string // hash of the last event; it vouches for all before
}

// Verify computes the chain of events again, and compares each step with what
// its last event says, each plan with its digest, and approvals and leases with
// what the beginnings of runs say.
func (j *Journal) Verify(ctx context.Context) (Check, error) {
	v := verifier{last: map[[2]string]engine.JournalEvent{}}
	for event, err := range j.Events(ctx, "") {
		if err == nil {
			err = v.event(event)
		}
		if err != nil {
			return v.check, j.damaged(err)
		}
	}
	if err := v.entries(ctx, j); err != nil {
		return v.check, j.damaged(err)
	}
	if err := v.plans(ctx, j); err != nil {
		return v.check, j.damaged(err)
	}
	if err := v.approvals(ctx, j); err != nil {
		return v.check, j.damaged(err)
	}
	return v.check, j.damaged(v.leases(ctx, j))
}

func (j *Journal) damaged(err error) error {
	if _, told := engine.AsError(err); told || err == nil {
		return err
	}
	return sqlite.Refusal("verify journal", j.db.Path, "journal_damaged", "Somebody or something changed it: keep it as evidence, and restore a copy.", err)
}

type verifier struct {
	check Check
	last  map[[2]string]engine.JournalEvent // of each plan and step
	runs  []engine.JournalEvent             // that began
}

func (v *verifier) event(e engine.JournalEvent) error {
	switch {
	case e.Seq != int64(v.check.Events)+1:
		return fmt.Errorf("event %d follows event %d", e.Seq, v.check.Events)
	case e.Previous != v.check.Head:
		return fmt.Errorf("event %d does not continue event %d", e.Seq, v.check.Events)
	case e.Hash != chainHash(e):
		return fmt.Errorf("event %d is not what it was", e.Seq)
	}
	v.check.Events++
	v.check.Head = e.Hash
	switch {
	case e.Step != "":
		v.last[[2]string{e.Plan, e.Step}] = e
	case e.To == begun:
		v.runs = append(v.runs, e)
	}
	return nil
}

// beginningOf is what a run's first event tells.
type beginningOf struct {
	Host      string          `json:"host"`
	PID       int64           `json:"pid"`
	Approvers json.RawMessage `json:"approvers"`
	Approval  string          `json:"approval_sha256"`
}

// approvals: one that a run began with must be there as it was, and no other.
func (v *verifier) approvals(ctx context.Context, j *Journal) error {
	told, missing := map[string]bool{}, map[string]bool{}
	for _, e := range v.runs {
		var b beginningOf
		if err := json.Unmarshal(e.Detail, &b); err != nil {
			return fmt.Errorf("event %d: %w", e.Seq, err)
		}
		if b.Approval != engine.TextDigest("") {
			told[e.Plan+b.Approval+string(b.Approvers)], missing[e.Plan+b.Approval] = true, true
		}
	}
	all := rowsOf(ctx, j.db, func(rows *sql.Rows) (row [4]string, err error) {
		err = rows.Scan(&row[0], &row[1], &row[2], &row[3])
		return row, err
	}, `SELECT plan_sha, sha, CAST(body AS TEXT), coalesce(approvers, 'null') FROM approval`)
	for row, err := range all {
		switch {
		case err != nil:
			return err
		case engine.TextDigest(row[2]) != row[1], !told[row[0]+row[1]+row[3]]:
			return fmt.Errorf("an approval of plan %s is not what its run began with", row[0])
		}
		delete(missing, row[0]+row[1])
	}
	if len(missing) > 0 {
		return errors.New("an approval that a run began with is missing")
	}
	return nil
}

// leases: the last run on a workspace holds it.
func (v *verifier) leases(ctx context.Context, j *Journal) error {
	last := map[string]string{}
	for _, e := range v.runs {
		var b beginningOf
		if err := json.Unmarshal(e.Detail, &b); err != nil {
			return fmt.Errorf("event %d: %w", e.Seq, err)
		}
		last[e.Workspace] = fmt.Sprint(e.Epoch, " ", b.PID, " ", e.At, " ", b.Host)
	}
	all := rowsOf(ctx, j.db, func(rows *sql.Rows) (row [2]string, err error) {
		err = rows.Scan(&row[0], &row[1])
		return row, err
	}, `SELECT workspace_id, epoch || ' ' || pid || ' ' || since_ms || ' ' || host FROM lease`)
	for row, err := range all {
		switch {
		case err != nil:
			return err
		case last[row[0]] != row[1]:
			return fmt.Errorf("the lease of workspace %s is not what its last run began with", row[0])
		}
		delete(last, row[0])
	}
	if len(last) > 0 {
		return errors.New("the lease of a workspace is missing")
	}
	return nil
}

func (v *verifier) entries(ctx context.Context, j *Journal) error {
	all := rowsOf(ctx, j.db, readEntry, `SELECT `+entryColumns+` FROM item ORDER BY plan_sha, item_id`)
	for entry, err := range all {
		if err != nil {
			return err
		}
		last, known := v.last[[2]string{entry.Plan, entry.Step}]
		if !known || !bytes.Equal(last.Detail, engine.CompactJSON(entry)) {
			return fmt.Errorf("step %s is not as its last event says", entry.Step)
		}
		v.check.Steps++
	}
	if v.check.Steps != len(v.last) {
		return errors.New("a step that has events is missing")
	}
	return nil
}

func (v *verifier) plans(ctx context.Context, j *Journal) error {
	for plan, err := range rowsOf(ctx, j.db, readPlan, selectPlans) {
		if err != nil {
			return err
		}
		if engine.TextDigest(string(plan.Bytes)) != plan.SHA {
			return fmt.Errorf("plan %s is not what was approved", plan.SHA)
		}
		v.check.Plans++
	}
	return nil
}

// Holder says what in the journal has a digest: a plan or an event; "" for nothing.
func (j *Journal) Holder(ctx context.Context, digest string) (holder string, err error) {
	query := `SELECT 'plan ' || sha FROM plan WHERE sha = ?1 UNION ALL SELECT 'event ' || seq FROM event WHERE hash = ?1 LIMIT 1`
	for row, err := range rowsOf(ctx, j.db, readText, query, digest) {
		if err != nil {
			return "", err
		}
		holder = row
	}
	return holder, nil
}

func readText(rows *sql.Rows) (text string, err error) {
	err = rows.Scan(&text)
	return text, err
}

// Removals are the tokens that a journal holds as revoked, by workspace id and
// token id: by patrol, or by it or somebody at the same moment.
func (j *Journal) Removals(ctx context.Context) (map[[2]string]engine.Removal, error) {
	removals := map[[2]string]engine.Removal{}
	rows := rowsOf(ctx, j.db, readRemoval, `SELECT workspace_id, target, state, plan_sha, at_ms FROM item
		WHERE action = ? AND state IN (?, ?) ORDER BY at_ms`, string(engine.Revoke), string(engine.StateDone), string(engine.StateGoneAfterIntent))
	for row, err := range rows {
		if err != nil {
			return nil, err
		}
		removals[row.token] = row.Removal
	}
	return removals, nil
}

type removalRow struct {
	token [2]string
	engine.Removal
}

func readRemoval(rows *sql.Rows) (r removalRow, err error) {
	err = rows.Scan(&r.token[0], &r.token[1], &r.State, &r.Plan, &r.At)
	return r, err
}
