package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opEvaluation = "save evaluation"

// EvaluationHeader says what an evaluation judged, when and by what.
type EvaluationHeader struct {
	AsOf      time.Time
	FailOn    engine.Threshold
	Version   string // of patrol
	Policies  []engine.Policy
	Snapshots []int64
	WhatIf    string // the name of what would be; "" for what is
	Narrowed  bool   // not all policies or workspaces were asked for
	MayMiss   int    // percentage of the expected workspaces that may not have been read
	Framework string // the framework, or framework:control, whose policies all ran, where nothing else narrowed the choice
}

// Evaluation is being written, in one transaction: it exists for readers once
// it is committed. Its methods are for one goroutine. Other readers, of this
// process too, are not held up; other writers wait until it ends, so that it
// must be ended, by Commit or Rollback, whatever happens.
type Evaluation struct {
	ctx        context.Context
	db         *DB
	tx         *sqlite.Tx
	id         int64
	policies   []engine.Policy   // by id; the index is the place
	workspaces []engine.Snapshot // as reports list them; the index is the place
	findings   *sqlite.Batch
	pending    []pendingFinding
	asOf       int64              // ms
	verdicts   map[pair]*verdict  // before; nil: the policy never came to one there
	earlier    map[int64]*earlier // by evaluation
}

// BeginEvaluation starts to write an evaluation.
func (db *DB) BeginEvaluation(ctx context.Context, h EvaluationHeader) (*Evaluation, error) {
	workspaces, err := db.snapshotsOf(ctx, h.Snapshots)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(workspaces, byWorkspace)
	tx, err := db.Begin(ctx)
	if err != nil {
		return nil, sqlite.Failure(opEvaluation, db.Path, err)
	}
	e := &Evaluation{ctx: ctx, db: db, tx: tx, policies: slices.Clone(h.Policies), workspaces: workspaces, asOf: h.AsOf.UnixMilli()}
	if err := e.begin(h); err != nil {
		e.Rollback()
		return nil, e.failed(err)
	}
	return e, nil
}

func (e *Evaluation) failed(err error) error {
	return sqlite.Failure(opEvaluation, e.db.Path, sqlite.Cause(e.ctx, err))
}

func (e *Evaluation) begin(h EvaluationHeader) error {
	slices.SortFunc(e.policies, func(a, b engine.Policy) int { return strings.Compare(a.ID, b.ID) })
	result, err := e.tx.ExecContext(e.ctx, `INSERT INTO evaluation (created_ms, as_of_ms, fail_on, version, narrowed, framework, min_coverage, what_if) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		e.db.Now().UnixMilli(), h.AsOf.UnixMilli(), h.FailOn.String(), h.Version, bit(h.Narrowed), h.Framework, 100-h.MayMiss, h.WhatIf)
	if err != nil {
		return err
	}
	if e.id, err = result.LastInsertId(); err != nil {
		return err
	}
	for i, w := range e.workspaces {
		if i > 0 && w.ID == e.workspaces[i-1].ID {
			return fmt.Errorf("snapshot %d is judged twice", w.ID)
		}
		_, err := e.tx.ExecContext(e.ctx, `INSERT INTO evaluation_workspace (evaluation_id, place, snapshot_id) VALUES (?, ?, ?)`, e.id, i, w.ID)
		if err != nil {
			return err
		}
	}
	for i, p := range e.policies {
		if i > 0 && p.ID == e.policies[i-1].ID {
			return fmt.Errorf("policy %s is there twice", p.ID)
		}
		document, err := saveJSON(e.ctx, e.tx, p)
		if err != nil {
			return fmt.Errorf("policy %s: %w", p.ID, err)
		}
		_, err = e.tx.ExecContext(e.ctx, `INSERT INTO evaluation_policy (evaluation_id, place, policy_id, document) VALUES (?, ?, ?, ?)`, e.id, i, p.ID, document)
		if err != nil {
			return err
		}
	}
	e.findings = sqlite.NewBatch(e.tx, "INSERT INTO finding ("+findingColumns+")", 17)
	e.verdicts, e.earlier = map[pair]*verdict{}, map[int64]*earlier{}
	return nil
}

func saveJSON(ctx context.Context, tx *sqlite.Tx, value any) (digest any, err error) {
	body, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return saveDocument(ctx, tx, body)
}

const findingColumns = `evaluation_id, rank, policy, workspace, resource, token_version, resource_id,
	status, title, severity, remedy, owner, message, evidence, fingerprint, waiver, since_ms`

// Add stores a finding on a snapshot's resource.
func (e *Evaluation) Add(f engine.Finding, snapshotID int64) error {
	return e.failed(e.add(f, snapshotID))
}

func (e *Evaluation) add(f engine.Finding, snapshotID int64) error {
	if err := e.ctx.Err(); err != nil {
		return err
	}
	workspace, policy, err := e.locate(snapshotID, f.Policy)
	if err != nil {
		return err
	}
	if w := e.workspaces[workspace].Workspace; f.WorkspaceID != w.ID || f.Workspace != w.Name {
		return fmt.Errorf("finding of %s names workspace %q (%s), snapshot %d is of %q (%s)", f.Policy, f.Workspace, f.WorkspaceID, snapshotID, w.Name, w.ID)
	}
	version, resourceID, err := e.resource(f, workspace)
	if err != nil {
		return err
	}
	evidence, waiver, err := encodeDetails(f)
	if err != nil {
		return fmt.Errorf("finding of %s on %s: %w", f.Policy, f.ResourceID, err)
	}
	p := e.policies[policy]
	key := findingKey{int64(f.Severity.Rank()), int64(policy), int64(workspace), string(f.Resource), version, resourceID}
	e.pending = append(e.pending, pendingFinding{key, f.Fingerprint, f.Status, [...]any{
		string(f.Status), unless(f.Title, p.Title), unless(string(f.Severity), string(p.Severity)), unless(f.Remedy, p.Remedy),
		f.Owner, f.Message, evidence, encodeFingerprint(f.Fingerprint), waiver,
	}})
	if len(e.pending) < pendingFindings {
		return nil
	}
	return e.insert()
}

// pendingFindings are stored at once, in the order of their keys: findings
// come by token, and the versions of tokens are in no order after a year of
// changes, so that each one alone would touch a page of its own.
const pendingFindings = 8192

// findingKey is the key of a finding within its evaluation.
type findingKey struct {
	rank, policy, workspace int64
	resource                string
	version                 int64
	resourceID              string
}

func (a findingKey) compare(b findingKey) int {
	return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.policy, b.policy), cmp.Compare(a.workspace, b.workspace),
		cmp.Compare(a.resource, b.resource), cmp.Compare(a.version, b.version), cmp.Compare(a.resourceID, b.resourceID))
}

type pendingFinding struct {
	findingKey
	fingerprint string
	status      engine.Status
	values      [9]any // the columns beyond the key, but for the last
}

// insert stores the findings that are pending.
func (e *Evaluation) insert() error {
	slices.SortFunc(e.pending, func(a, b pendingFinding) int { return a.compare(b.findingKey) })
	for _, f := range e.pending {
		k := f.findingKey
		since, err := e.since(pair{k.policy, k.workspace}, f.fingerprint, f.status)
		if err != nil {
			return err
		}
		args := append([]any{e.id, k.rank, k.policy, k.workspace, k.resource, k.version, k.resourceID}, f.values[:]...)
		if err := e.findings.Add(append(args, since)...); err != nil {
			return err
		}
	}
	e.pending = e.pending[:0]
	return nil
}

// locate finds the places of a snapshot and a policy.
func (e *Evaluation) locate(snapshotID int64, policyID string) (workspace, policy int, err error) {
	workspace = slices.IndexFunc(e.workspaces, func(w engine.Snapshot) bool { return w.ID == snapshotID })
	policy, found := slices.BinarySearchFunc(e.policies, policyID, func(p engine.Policy, id string) int { return cmp.Compare(p.ID, id) })
	if workspace < 0 || !found {
		return 0, 0, fmt.Errorf("snapshot %d or policy %q is no part of this evaluation", snapshotID, policyID)
	}
	return workspace, policy, nil
}

// resource refers to a token by its version, which is short, and to anything
// else by its id.
func (e *Evaluation) resource(f engine.Finding, workspace int) (version int64, id string, err error) {
	s := e.workspaces[workspace]
	if f.Resource != engine.ResourceToken || !usable(s, engine.SectionTokens) {
		return 0, f.ResourceID, nil
	}
	if f.Row != 0 {
		return f.Row, "", nil
	}
	err = e.tx.QueryRowContext(context.Background(), `SELECT v.version FROM token_version v WHERE `+holds+` AND v.token_id = ?2`, s.ID, f.ResourceID).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, f.ResourceID, nil
	}
	return version, "", err
}

// Tally stores how often a policy came to which result on a snapshot.
func (e *Evaluation) Tally(snapshotID int64, policyID string, tally engine.Tally) error {
	return e.failed(e.tally(snapshotID, policyID, tally))
}

func (e *Evaluation) tally(snapshotID int64, policyID string, tally engine.Tally) error {
	workspace, policy, err := e.locate(snapshotID, policyID)
	if err != nil {
		return err
	}
	for _, status := range engine.SortedKeys(tally) {
		_, err := e.tx.ExecContext(e.ctx, `INSERT INTO tally (evaluation_id, workspace, policy, status, count) VALUES (?, ?, ?, ?, ?)`,
			e.id, workspace, policy, string(status), tally[status])
		if err != nil {
			return err
		}
	}
	return nil
}

// Commit makes the evaluation visible and returns its id.
func (e *Evaluation) Commit() (id int64, err error) {
	defer e.Rollback() // no-op once committed
	err = errors.Join(e.ctx.Err(), e.insert(), e.findings.Flush())
	if err == nil {
		err = seal(e.ctx, e.tx, e.id)
	}
	if err == nil {
		err = e.tx.Commit()
	}
	if err != nil {
		return 0, e.failed(err)
	}
	return e.id, nil
}

// Rollback drops the evaluation, unless it was committed.
func (e *Evaluation) Rollback() {
	_ = e.tx.Rollback() // it fails only where the transaction has ended already
}

// unless is NULL where a value is the usual one.
func unless(value, usual string) any {
	if value == usual {
		return nil
	}
	return value
}

// LatestEvaluation returns the id of the newest evaluation of what is; the reason of the
// error is no_evaluation when there is none.
func (db *DB) LatestEvaluation(ctx context.Context) (int64, error) {
	var id int64
	err := db.q.QueryRowContext(ctx, `SELECT id FROM evaluation WHERE what_if = '' ORDER BY id DESC LIMIT 1`).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, sqlite.Missing("read evaluation", db.Path, "no_evaluation", "Run `patrol evaluate` first.", errors.New("holds no evaluation"))
	}
	return id, sqlite.Failure("read evaluation", db.Path, err)
}

// Evaluation returns what an evaluation judged; the reason of the error is
// not_found when there is none of this id. Policies come by id, snapshots by
// the name and id of their workspace.
func (db *DB) Evaluation(ctx context.Context, id int64) (EvaluationHeader, error) {
	var h EvaluationHeader
	var asOf, narrowed int64
	var failOn string
	err := db.q.QueryRowContext(ctx, `SELECT as_of_ms, fail_on, version, narrowed, framework, 100 - min_coverage, what_if FROM evaluation WHERE id = ?`, id).
		Scan(&asOf, &failOn, &h.Version, &narrowed, &h.Framework, &h.MayMiss, &h.WhatIf)
	if errors.Is(err, sql.ErrNoRows) {
		return h, sqlite.Missing("read evaluation", strconv.FormatInt(id, 10), "not_found", "`patrol evaluations list` shows which there are.", errors.New("does not exist"))
	}
	if err == nil {
		h.AsOf, h.Narrowed = time.UnixMilli(asOf).UTC(), narrowed != 0
		h.FailOn, err = engine.ParseThreshold(failOn)
	}
	if err == nil {
		h.Snapshots, err = db.judged(ctx, id)
	}
	if err == nil {
		h.Policies, err = db.policies(ctx, id)
	}
	return h, sqlite.Failure("read evaluation", db.Path, err)
}

func (db *DB) judged(ctx context.Context, evaluation int64) (ids []int64, err error) {
	query := `SELECT snapshot_id FROM evaluation_workspace WHERE evaluation_id = ? ORDER BY place`
	for c, err := range sqlite.Scan(ctx, db.q, query, evaluation) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, c.Int())
	}
	return ids, nil
}

func (db *DB) policies(ctx context.Context, evaluation int64) (policies []engine.Policy, err error) {
	query := `SELECT d.body FROM evaluation_policy p JOIN document d ON d.digest = p.document WHERE p.evaluation_id = ? ORDER BY p.place`
	for c, err := range sqlite.Scan(ctx, db.q, query, evaluation) {
		if err != nil {
			return nil, err
		}
		p, err := decodePolicy(c.Text())
		if err != nil {
			return nil, err
		}
		policies = append(policies, p)
	}
	return policies, nil
}

// What an evaluation is, besides its findings: each query is a kind of row of
// its digest. Snapshots are named by their digests, so that the evaluation is
// chained behind them.
var evaluationParts = []struct {
	kind  byte
	query string
}{
	{'V', `SELECT created_ms, as_of_ms, fail_on, version, narrowed, framework, min_coverage, nullif(what_if, '') FROM evaluation WHERE id = ?`},
	{'W', `SELECT w.place, s.digest FROM evaluation_workspace w JOIN snapshot s ON s.id = w.snapshot_id WHERE w.evaluation_id = ? ORDER BY w.place`},
	{'P', `SELECT p.place, p.policy_id, d.body FROM evaluation_policy p JOIN document d ON d.digest = p.document WHERE p.evaluation_id = ? ORDER BY p.place`},
	{'X', `SELECT d.body FROM evaluation e JOIN document d ON d.digest = e.exceptions WHERE e.id = ?`},
	{'C', `SELECT workspace, policy, status, count FROM tally WHERE evaluation_id = ? ORDER BY workspace, policy, status`},
}

// evaluationDigest begins the digest of an evaluation; the rows of findingQuery follow.
func evaluationDigest(ctx context.Context, q sqlite.Querier, id int64) (*digester, error) {
	d := newDigesterOf("patrol evaluation 1")
	for _, part := range evaluationParts {
		if err := d.rows(ctx, q, part.kind, part.query, id); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// rows writes all rows of a query.
func (d *digester) rows(ctx context.Context, q sqlite.Querier, kind byte, query string, args ...any) error {
	for c, err := range sqlite.Scan(ctx, q, query, args...) {
		if err != nil {
			return err
		}
		d.values(kind, c.Values())
	}
	return nil
}

// values writes the columns of a row; those that are NULL are left out, so that
// a column can be added at the end.
func (d *digester) values(kind byte, columns []any) {
	d.row(kind)
	for i, value := range columns {
		number := uint64(i + 1) //nolint:gosec // a column
		switch v := value.(type) {
		case int64:
			d.integer(number, &v)
		case string:
			d.field(number, 's')
			d.bytes(v)
		case []byte:
			d.field(number, 'b')
			d.bytes(string(v))
		}
	}
	d.end()
}

// wholeDigest is the digest of what is stored of an evaluation.
func wholeDigest(ctx context.Context, q sqlite.Querier, id int64) (string, error) {
	d, err := evaluationDigest(ctx, q, id)
	if err == nil {
		err = d.rows(ctx, q, 'F', findingQuery, id)
	}
	if err != nil {
		return "", err
	}
	return d.hex(), nil
}

type querierAndExecer interface {
	sqlite.Querier
	sqlite.Execer
}

// seal stores the digest of an evaluation.
func seal(ctx context.Context, tx querierAndExecer, id int64) error {
	digest, err := wholeDigest(ctx, tx, id)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE evaluation SET digest = ? WHERE id = ?`, digest, id)
	return err
}

// sealed compares the digest of everything that was read of an evaluation with
// the one that it was sealed with.
func (db *DB) sealed(ctx context.Context, id int64, digest string) error {
	want, err := db.evaluationSeal(ctx, id)
	if err != nil {
		return err
	}
	if digest != want {
		return sqlite.Refusal("verify evaluation", strconv.FormatInt(id, 10), "digest_mismatch",
			"Something other than patrol changed the database: restore it from a copy, or evaluate again.",
			fmt.Errorf("its digest is %s, sealed was %s", digest, cmp.Or(want, "none")))
	}
	db.view.addIntact(intactEvaluation(id))
	return nil
}

func (db *DB) evaluationSeal(ctx context.Context, id int64) (digest string, err error) {
	err = db.q.QueryRowContext(ctx, `SELECT coalesce(digest, '') FROM evaluation WHERE id = ?`, id).Scan(&digest)
	return digest, err
}

// IntactEvaluation says whether an evaluation is what was sealed: what it
// judged and by what, its tallies, exceptions and findings. One that a complete
// reading of this view found intact is not read again.
func (db *DB) IntactEvaluation(ctx context.Context, id int64) error {
	if db.view.isIntact(intactEvaluation(id)) {
		return nil
	}
	digest, err := wholeDigest(ctx, db.q, id)
	if err == nil {
		err = db.sealed(ctx, id, digest)
	}
	return sqlite.Failure(opReport, db.Path, err)
}

// sealOld seals the evaluations of a database whose program sealed none.
func sealOld(ctx context.Context, tx querierAndExecer) error {
	var ids []int64
	for c, err := range sqlite.Scan(ctx, tx, `SELECT id FROM evaluation ORDER BY id`) {
		if err != nil {
			return err
		}
		ids = append(ids, c.Int())
	}
	for _, id := range ids {
		if err := seal(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// decodeExact reads JSON without losing digits.
func decodeExact(text string, target any) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(target)
}

// exact turns the numbers of a decoded value into int64 where they are whole
// and fit, and leaves them as json.Number, with every digit, where not.
func exact(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = exact(v[key])
		}
	}
	return value
}

func decodePolicy(text string) (engine.Policy, error) {
	var p engine.Policy
	if err := decodeExact(text, &p); err != nil {
		return p, fmt.Errorf("stored policy is damaged: %w", err)
	}
	for i := range p.Params {
		p.Params[i].Default = exact(p.Params[i].Default)
		p.Params[i].Value = exact(p.Params[i].Value)
	}
	for i := range p.Overrides {
		p.Overrides[i].Value = exact(p.Overrides[i].Value)
	}
	return p, nil
}

// encodeDetails makes the JSON of what a finding rests on.
func encodeDetails(f engine.Finding) (evidence, waiver any, err error) {
	if f.Evidence != nil {
		if evidence, err = encodeJSON(f.Evidence); err != nil {
			return nil, nil, err
		}
	}
	if f.Waiver != nil {
		waiver, err = encodeJSON(f.Waiver)
	}
	return evidence, waiver, err
}

func encodeJSON(value any) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func decodeDetails(f *engine.Finding, evidence, waiver string) error {
	if evidence != "" {
		if err := decodeExact(evidence, &f.Evidence); err != nil {
			return fmt.Errorf("stored evidence is damaged: %w", err)
		}
		exact(f.Evidence)
	}
	if waiver != "" {
		if err := decodeExact(waiver, &f.Waiver); err != nil {
			return fmt.Errorf("stored waiver is damaged: %w", err)
		}
	}
	return nil
}

// encodeFingerprint halves the usual fingerprint: hexadecimal digits become bytes.
func encodeFingerprint(text string) any {
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != 32 || hex.EncodeToString(sum) != text {
		return text
	}
	return sum
}

func decodeFingerprint(c *sqlite.Row) string {
	switch v := c.Value().(type) {
	case []byte:
		return hex.EncodeToString(v)
	case string:
		return v
	}
	c.Err = errors.New("stored fingerprint is damaged")
	return ""
}
