package store

import (
	"database/sql"
	"errors"

	"patrol/engine"
)

// sinces tells of the findings of an evaluation since when they stand. What the
// verdict before says is looked up by the finding's key, which is the order in
// which both are stored.
type sinces struct {
	bases map[pair]*base // nil: the policy never came to a verdict there
	same  *sql.Stmt
	moved *sql.Stmt
}

// The finding as it was: the same severity, and the token unchanged.
const sameFindingQuery = `SELECT status, since_ms FROM finding
	WHERE evaluation_id = ? AND rank = ? AND policy = ? AND workspace = ? AND resource = ? AND token_version = ? AND resource_id = ?`

// The finding with another severity, or of a token that changed since.
const movedFindingQuery = `SELECT status, since_ms FROM finding
	WHERE evaluation_id = ?1 AND rank IN (0, 1, 2, 3, 4) AND policy = ?2 AND workspace = ?3 AND resource = ?4 AND resource_id = ?6
	AND token_version IN (SELECT 0 WHERE ?5 = 0 UNION ALL
		SELECT v.version FROM token_version n JOIN token_version v ON v.workspace_key = n.workspace_key AND v.token_id = n.token_id WHERE n.version = ?5)
	ORDER BY rank LIMIT 1`

func (e *Evaluation) prepareSinces() (err error) {
	e.sinces = sinces{bases: map[pair]*base{}}
	if e.sinces.same, err = e.tx.PrepareContext(e.ctx, sameFindingQuery); err != nil {
		return err
	}
	e.sinces.moved, err = e.tx.PrepareContext(e.ctx, movedFindingQuery)
	return err
}

func (s *sinces) close() error { return errors.Join(s.same.Close(), s.moved.Close()) }

// since is the moment in ms since when a finding stands, or NULL: that of the
// verdict before where it stood then, else that of this evaluation. What could
// not be judged keeps what the verdict before had.
func (e *Evaluation) since(k findingKey, status engine.Status) (any, error) {
	b, err := e.base(pair{k.policy, k.workspace})
	if err != nil {
		return nil, err
	}
	if b != nil {
		since, stood, err := e.stood(k, b)
		if err != nil || stood {
			return since, err
		}
	}
	if status.Judged() {
		return e.asOf, nil
	}
	return nil, nil
}

func (e *Evaluation) base(at pair) (*base, error) {
	if b, known := e.sinces.bases[at]; known {
		return b, nil
	}
	b, ok, err := judgedBefore(e.ctx, e.tx, e.id, e.workspaces[at.workspace].snapshot.ID, e.asOf, e.policies[at.policy])
	if err != nil {
		return nil, err
	}
	if !ok {
		e.sinces.bases[at] = nil
		return nil, nil
	}
	if err := e.view.IntactEvaluation(e.ctx, b.evaluation); err != nil {
		return nil, err
	}
	e.sinces.bases[at] = &b
	return &b, nil
}

// stood reports whether the finding stood when its policy last came to a
// verdict, and since when.
func (e *Evaluation) stood(k findingKey, b *base) (since any, stood bool, err error) {
	var status string
	var ms sql.NullInt64
	err = e.sinces.same.QueryRowContext(e.ctx, b.evaluation, k.rank, b.policy, b.workspace, k.resource, k.version, k.resourceID).Scan(&status, &ms)
	if errors.Is(err, sql.ErrNoRows) {
		err = e.sinces.moved.QueryRowContext(e.ctx, b.evaluation, b.policy, b.workspace, k.resource, k.version, k.resourceID).Scan(&status, &ms)
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case ms.Valid:
		return ms.Int64, true, nil
	case engine.Status(status).Judged(): // stored before there was a column for it
		return b.asOf, true, nil
	}
	return nil, false, nil
}
