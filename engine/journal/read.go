package journal

import (
	"bytes"
	"context"
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

// PlansOf lists the plans whose digest or id begins with a text, in the order in
// which they were first applied; the bytes of others are not handed out.
func (j *Journal) PlansOf(ctx context.Context, beginning string) ([]PlanRecord, error) {
	plans, err := sqlite.List(ctx, j.db.SQL, readPlan, `SELECT sha, body, registered_ms FROM plan WHERE ?1 = '' OR `+planBegins+` ORDER BY registered_ms, sha`, beginning)
	return plans, sqlite.Failure(opReadJournal, j.db.Path, err)
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
	plans, err := sqlite.List(ctx, j.db.SQL, readPlan, chosen, beginning)
	if err != nil || len(plans) == 0 {
		return nil, sqlite.Failure(opReadJournal, j.db.Path, err)
	}
	return &plans[0], nil
}

func readPlan(c *sqlite.Row) PlanRecord { return PlanRecord{c.Text(), c.Bytes(), c.Int()} }

// Entries lists where the steps of a plan stand, by step id.
func (j *Journal) Entries(ctx context.Context, plan string) ([]engine.Entry, error) {
	entries, err := sqlite.List(ctx, j.db.SQL, readEntry, `SELECT `+entryColumns+` FROM item WHERE plan_sha = ? ORDER BY item_id`, plan)
	return entries, sqlite.Failure(opReadJournal, j.db.Path, err)
}

// Events streams the history of a plan, or of all plans for "", oldest first.
func (j *Journal) Events(ctx context.Context, plan string) iter.Seq2[engine.JournalEvent, error] {
	return rowsOf(ctx, j.db, readEvent, `SELECT `+eventColumns+` FROM event WHERE ?1 = '' OR plan_sha = ?1 ORDER BY seq`, plan)
}

// rowsOf streams the rows of a query.
func rowsOf[T any](ctx context.Context, db *sqlite.DB, read func(*sqlite.Row) T, query string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row, err := range sqlite.Rows(ctx, db.SQL, read, query, args...) {
			if !yield(row, sqlite.Failure(opReadJournal, db.Path, err)) {
				return
			}
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
func (j *Journal) Verify(ctx context.Context) (check Check, err error) {
	defer func() {
		if _, explained := engine.AsError(err); err != nil && !explained {
			err = sqlite.Refusal("verify journal", j.db.Path, "journal_damaged", "Somebody or something changed it: keep it as evidence, and restore a copy.", err)
		}
	}()
	last := map[[2]string]engine.JournalEvent{}              // of each plan and step
	approved, unseen := map[string]bool{}, map[string]bool{} // approvals that runs began with, and those of them that are not found yet
	leases := map[string]string{}                            // by workspace: the last run holds it
	for e, err := range j.Events(ctx, "") {
		switch {
		case err != nil:
			return check, err
		case e.Seq != int64(check.Events)+1:
			return check, fmt.Errorf("event %d follows event %d", e.Seq, check.Events)
		case e.Previous != check.Head:
			return check, fmt.Errorf("event %d does not continue event %d", e.Seq, check.Events)
		case e.Hash != chainHash(e):
			return check, fmt.Errorf("event %d is not what it was", e.Seq)
		}
		check.Events++
		check.Head = e.Hash
		if e.Step != "" {
			last[[2]string{e.Plan, e.Step}] = e
		}
		if e.Step != "" || e.To != begun {
			continue
		}
		var run struct {
			Host      string          `json:"host"`
			PID       int64           `json:"pid"`
			Approvers json.RawMessage `json:"approvers"`
			Approval  string          `json:"approval_sha256"`
		}
		if err := json.Unmarshal(e.Detail, &run); err != nil {
			return check, fmt.Errorf("event %d: %w", e.Seq, err)
		}
		if run.Approval != engine.TextDigest("") {
			approved[e.Plan+run.Approval+string(run.Approvers)], unseen[e.Plan+run.Approval] = true, true
		}
		leases[e.Workspace] = fmt.Sprint(e.Epoch, " ", run.PID, " ", e.At, " ", run.Host)
	}
	for entry, err := range rowsOf(ctx, j.db, readEntry, `SELECT `+entryColumns+` FROM item ORDER BY plan_sha, item_id`) {
		if err != nil {
			return check, err
		}
		event, known := last[[2]string{entry.Plan, entry.Step}]
		if !known || !bytes.Equal(event.Detail, engine.CompactJSON(entry)) {
			return check, fmt.Errorf("step %s is not as its last event says", entry.Step)
		}
		check.Steps++
	}
	if check.Steps != len(last) {
		return check, errors.New("a step that has events is missing")
	}
	for plan, err := range rowsOf(ctx, j.db, readPlan, `SELECT sha, body, registered_ms FROM plan`) {
		if err != nil {
			return check, err
		}
		if engine.TextDigest(string(plan.Bytes)) != plan.SHA {
			return check, fmt.Errorf("plan %s is not what was approved", plan.SHA)
		}
		check.Plans++
	}
	for row, err := range rowsOf(ctx, j.db, readTexts, `SELECT plan_sha, sha, CAST(body AS TEXT), coalesce(approvers, 'null') FROM approval`) {
		switch {
		case err != nil:
			return check, err
		case engine.TextDigest(row[2]) != row[1], !approved[row[0]+row[1]+row[3]]:
			return check, fmt.Errorf("an approval of plan %s is not what its run began with", row[0])
		}
		delete(unseen, row[0]+row[1])
	}
	if len(unseen) > 0 {
		return check, errors.New("an approval that a run began with is missing")
	}
	for row, err := range rowsOf(ctx, j.db, readTexts, `SELECT workspace_id, epoch || ' ' || pid || ' ' || since_ms || ' ' || host FROM lease`) {
		switch {
		case err != nil:
			return check, err
		case leases[row[0]] != row[1]:
			return check, fmt.Errorf("the lease of workspace %s is not what its last run began with", row[0])
		}
		delete(leases, row[0])
	}
	if len(leases) > 0 {
		return check, errors.New("the lease of a workspace is missing")
	}
	return check, nil
}

// readTexts reads a row of texts.
func readTexts(c *sqlite.Row) []string {
	texts := make([]string, len(c.Values()))
	for i := range texts {
		texts[i] = c.Text()
	}
	return texts
}

// Holder says what in the journal has a digest: a plan or an event; "" for nothing.
func (j *Journal) Holder(ctx context.Context, digest string) (holder string, err error) {
	query := `SELECT 'plan ' || sha FROM plan WHERE sha = ?1 UNION ALL SELECT 'event ' || seq FROM event WHERE hash = ?1 LIMIT 1`
	_, err = sqlite.First(ctx, j.db.SQL, query, []any{digest}, &holder)
	return holder, sqlite.Failure(opReadJournal, j.db.Path, err)
}

// Removals are the tokens that a journal holds as revoked, by workspace id and
// token id: by patrol, or by it or somebody at the same moment. It is made of a
// journal that is what it was: the reason of the error is journal_damaged else.
func (j *Journal) Removals(ctx context.Context) (map[[2]string]engine.Removal, error) {
	if _, err := j.Verify(ctx); err != nil {
		return nil, err
	}
	removals := map[[2]string]engine.Removal{}
	entries := rowsOf(ctx, j.db, readEntry, `SELECT `+entryColumns+` FROM item WHERE action = ? AND state IN (?, ?) ORDER BY at_ms`,
		string(engine.Revoke), string(engine.StateDone), string(engine.StateGoneAfterIntent))
	for e, err := range entries {
		if err != nil {
			return nil, err
		}
		removals[[2]string{e.Workspace, e.Target}] = engine.Removal{State: e.State, Plan: e.Plan, At: e.At}
	}
	return removals, nil
}
