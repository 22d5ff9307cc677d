package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opReport = "read evaluation"

// Report reads an evaluation. Findings and Tokens ask the database anew
// whenever they are ranged over, until ctx ends or db is closed.
func (db *DB) Report(ctx context.Context, evaluationID int64) (engine.Report, error) {
	h, err := db.Evaluation(ctx, evaluationID)
	if err != nil {
		return engine.Report{}, err
	}
	r := engine.Report{Version: h.Version, WhatIf: h.WhatIf, AsOf: h.AsOf, FailOn: h.FailOn, Narrowed: h.Narrowed, Framework: h.Framework, MayMiss: h.MayMiss}
	if r.Workspaces, err = db.workspaceReports(ctx, h.Snapshots); err != nil {
		return engine.Report{}, err
	}
	policies := make([]engine.PolicyReport, len(h.Policies))
	for i, p := range h.Policies {
		policies[i] = engine.PolicyReport{Policy: p, Tally: engine.Tally{}}
	}
	if err := db.readTallies(ctx, evaluationID, r.Workspaces, policies); err != nil {
		return engine.Report{}, sqlite.Failure(opReport, db.Path, err)
	}
	r.Summary = summarise(r.Workspaces, policies)
	if r.Summary.Severities, err = db.resultsBySeverity(ctx, evaluationID, r.Workspaces, h.Policies); err != nil {
		return engine.Report{}, sqlite.Failure(opReport, db.Path, err)
	}
	if r.Exceptions, err = db.exceptions(ctx, evaluationID); err != nil {
		return engine.Report{}, sqlite.Failure(opReport, db.Path, err)
	}
	r.Findings = db.findings(ctx, evaluationID, r.Workspaces, h.Policies)
	r.Tokens = db.tokenRows(ctx, r.Workspaces, h.AsOf)
	r.Policies = bySeverity(policies)
	if r.Digest, err = db.evaluationSeal(ctx, evaluationID); err != nil {
		return engine.Report{}, sqlite.Failure(opReport, db.Path, err)
	}
	r.Intact = func() error {
		if err := db.IntactEvaluation(ctx, evaluationID); err != nil {
			return err
		}
		snapshots := make([]engine.Snapshot, len(r.Workspaces))
		for i, w := range r.Workspaces {
			snapshots[i] = w.Snapshot
		}
		return db.Intact(ctx, snapshots...)
	}
	if r.Trend, err = db.trend(ctx, evaluationID, r, h.Policies); err != nil {
		return engine.Report{}, sqlite.Failure(opReport, db.Path, sqlite.Cause(ctx, err))
	}
	return r, nil
}

func (db *DB) workspaceReports(ctx context.Context, snapshots []int64) ([]engine.WorkspaceReport, error) {
	stored, err := db.snapshotsOf(ctx, snapshots)
	if err != nil {
		return nil, err
	}
	reports := make([]engine.WorkspaceReport, 0, len(snapshots))
	for _, s := range stored {
		w := engine.WorkspaceReport{Snapshot: s, Counts: engine.Tally{}, Policies: map[string]engine.Tally{}}
		if err := decodeDocument(s, engine.SectionSettings, &w.Settings); err != nil {
			return nil, sqlite.Failure(opReport, db.Path, err)
		}
		if err := decodeDocument(s, engine.SectionGrants, &w.Grants); err != nil {
			return nil, sqlite.Failure(opReport, db.Path, err)
		}
		reports = append(reports, w)
	}
	return reports, nil
}

// decodeDocument leaves target nil when the section was not covered.
func decodeDocument[T any](s engine.Snapshot, name engine.SectionName, target *T) error {
	document := s.Documents[name]
	if document == nil || !usable(s, name) {
		return nil
	}
	if err := json.Unmarshal(document, target); err != nil {
		return fmt.Errorf("section %s of snapshot %d: %w", name, s.ID, err)
	}
	return nil
}

func (db *DB) readTallies(ctx context.Context, evaluation int64, workspaces []engine.WorkspaceReport, policies []engine.PolicyReport) error {
	for c, err := range sqlite.Scan(ctx, db.q, `SELECT workspace, policy, status, count FROM tally WHERE evaluation_id = ?`, evaluation) {
		if err != nil {
			return err
		}
		workspace, policy, status, count := c.Int(), c.Int(), engine.Status(c.Text()), int(c.Int())
		if c.Err != nil {
			return c.Err
		}
		if !within(workspace, workspaces) || !within(policy, policies) {
			return fmt.Errorf("stored tally refers to workspace %d and policy %d, which are not there", workspace, policy)
		}
		w, p := workspaces[workspace], policies[policy].Policy.ID
		w.Counts[status] += count
		if w.Policies[p] == nil {
			w.Policies[p] = engine.Tally{}
		}
		w.Policies[p][status] += count
		policies[policy].Tally[status] += count
	}
	return nil
}

func within[T any](i int64, list []T) bool { return i >= 0 && i < int64(len(list)) }

func summarise(workspaces []engine.WorkspaceReport, policies []engine.PolicyReport) engine.Summary {
	s := engine.Summary{Workspaces: len(workspaces), Statuses: engine.Tally{}}
	for _, w := range workspaces {
		s.Tokens += w.Snapshot.Tokens
	}
	for _, p := range policies {
		for status, count := range p.Tally {
			s.Statuses[status] += count
		}
	}
	return s
}

// resultsBySeverity counts results by the severity in force where they were
// judged: findings by their own, the others by that of the policy there.
func (db *DB) resultsBySeverity(ctx context.Context, evaluation int64, workspaces []engine.WorkspaceReport, policies []engine.Policy) (map[engine.Severity]engine.Tally, error) {
	counts := map[engine.Severity]engine.Tally{}
	for _, level := range engine.Severities() {
		counts[level] = engine.Tally{}
	}
	for _, w := range workspaces {
		for _, p := range policies {
			for status, count := range w.Policies[p.ID] {
				if level := p.SeverityIn(w.Snapshot.Workspace.ID); !status.Finding() && counts[level] != nil {
					counts[level][status] += count
				}
			}
		}
	}
	query := `SELECT rank, status, count(*) FROM finding WHERE evaluation_id = ? GROUP BY rank, status`
	for c, err := range sqlite.Scan(ctx, db.q, query, evaluation) {
		if err != nil {
			return nil, err
		}
		rank, status, count := c.Int(), engine.Status(c.Text()), int(c.Int())
		if c.Err != nil {
			return nil, c.Err
		}
		if !within(rank, engine.Severities()) {
			return nil, fmt.Errorf("stored finding has severity rank %d, which is none", rank)
		}
		counts[engine.Severities()[rank]][status] += count
	}
	return counts, nil
}

// bySeverity orders policies for reports; they come by id.
func bySeverity(policies []engine.PolicyReport) []engine.PolicyReport {
	slices.SortStableFunc(policies, func(a, b engine.PolicyReport) int {
		return cmp.Compare(a.Policy.Severity.Rank(), b.Policy.Severity.Rank())
	})
	return policies
}

// The primary key gives the order up to the resource, so that SQLite sorts
// only the findings of one policy in one workspace at a time.
const findingQuery = findingSelect + findingFrom + findingOrder

const findingOrder = `WHERE f.evaluation_id = ? ORDER BY f.rank, f.policy, f.workspace, f.resource, id`

// findingSelect is what readFinding reads, and what the digest of an evaluation is of.
const findingSelect = `SELECT f.policy, f.workspace, f.resource, coalesce(v.token_id, f.resource_id) AS id,
	f.status, f.title, f.severity, f.remedy, f.owner, f.message, f.evidence, f.fingerprint, f.waiver, coalesce(v.owner_id, ''), f.since_ms`

const findingFrom = `
	FROM finding f LEFT JOIN token_version v ON v.version = f.token_version
	`

// reportedQuery is findingQuery with what is shown of the tokens behind its
// columns. That is a part of the snapshots, and verified with them.
const reportedQuery = findingSelect + `,
	v.version, v.comment, coalesce(v.defects, ''), (SELECT u.day * 86400000 + coalesce(u.ms, 0) FROM token_use u
		WHERE u.token_key = v.token_key AND u.since <= w.snapshot_id ORDER BY u.since DESC LIMIT 1)` + findingFrom +
	`LEFT JOIN evaluation_workspace w ON w.evaluation_id = f.evaluation_id AND w.place = f.workspace
	` + findingOrder

// sealedColumns is how many columns findingSelect has.
const sealedColumns = 15

// findings streams the findings in the order of reports. The last thing that it
// yields is an error, reason digest_mismatch, if the evaluation is not what was sealed.
func (db *DB) findings(ctx context.Context, evaluation int64, workspaces []engine.WorkspaceReport, policies []engine.Policy) iter.Seq2[engine.Finding, error] {
	return func(yield func(engine.Finding, error) bool) {
		digest, err := evaluationDigest(ctx, db.q, evaluation)
		if err != nil {
			yield(engine.Finding{}, sqlite.Failure("read findings", db.Path, err))
			return
		}
		for c, err := range sqlite.Scan(ctx, db.q, reportedQuery, evaluation) {
			var f engine.Finding
			if err == nil {
				digest.values('F', c.Values()[:sealedColumns])
				if f, err = readFinding(c, workspaces, policies); err == nil {
					f.Token, err = readFindingToken(c)
				}
			}
			if !yield(f, sqlite.Failure("read findings", db.Path, err)) || err != nil {
				return
			}
		}
		if err := db.sealed(ctx, evaluation, digest.hex()); err != nil {
			yield(engine.Finding{}, sqlite.Failure("read findings", db.Path, err))
		}
	}
}

func readFinding(c *sqlite.Row, workspaces []engine.WorkspaceReport, policies []engine.Policy) (engine.Finding, error) {
	policy, workspace := c.Int(), c.Int()
	if c.Err != nil {
		return engine.Finding{}, c.Err
	}
	if !within(workspace, workspaces) || !within(policy, policies) {
		return engine.Finding{}, fmt.Errorf("stored finding refers to workspace %d and policy %d, which are not there", workspace, policy)
	}
	p, w := policies[policy], workspaces[workspace].Snapshot.Workspace
	f := engine.Finding{
		Policy: p.ID, Workspace: w.Name, WorkspaceID: w.ID,
		Resource: engine.Resource(c.Text()), ResourceID: c.Text(), Status: engine.Status(c.Text()),
		Title: c.TextOr(p.Title), Severity: engine.Severity(c.TextOr(string(p.Severity))), Remedy: c.TextOr(p.Remedy),
		Owner: c.Text(), Message: c.Text(),
	}
	evidence := c.TextOrNull()
	f.Fingerprint = decodeFingerprint(c)
	waiver := c.TextOrNull()
	f.OwnerID = c.Text()
	if since := c.IntOrNull(); since != nil && f.Status.Judged() {
		f.Since = time.UnixMilli(*since).UTC()
	}
	if c.Err != nil {
		return f, c.Err
	}
	return f, decodeDetails(&f, evidence, waiver)
}

// readFindingToken reads what reportedQuery adds; nil where there is no token.
func readFindingToken(c *sqlite.Row) (*engine.FindingToken, error) {
	if version := c.IntOrNull(); version == nil {
		return nil, nil
	}
	token := engine.FindingToken{Comment: c.Text()}
	defects := c.Text()
	token.LastUsed = c.IntOrNull()
	if c.Err != nil {
		return nil, c.Err
	}
	list, err := decodeDefects(defects)
	for _, d := range list {
		token.Defects = append(token.Defects, d.Field)
	}
	return &token, err
}

// tokenRows streams the population: the workspaces stand in order already.
func (db *DB) tokenRows(ctx context.Context, workspaces []engine.WorkspaceReport, asOf time.Time) iter.Seq2[engine.TokenRow, error] {
	return func(yield func(engine.TokenRow, error) bool) {
		for _, w := range workspaces {
			for subject, err := range db.Subjects(ctx, w.Snapshot.ID, asOf, usable(w.Snapshot, engine.SectionAuditLog)) {
				if !yield(engine.TokenRow{Workspace: w.Snapshot.Workspace, Subject: subject}, err) || err != nil {
					return
				}
			}
		}
	}
}

// EvaluationSummary is a line of the list of evaluations.
type EvaluationSummary struct {
	ID         int64
	Created    time.Time
	AsOf       time.Time
	WhatIf     string
	Narrowed   bool
	Workspaces int
	Findings   engine.Tally
	Digest     string
}

// Evaluations lists all evaluations, newest first.
func (db *DB) Evaluations(ctx context.Context) (list []EvaluationSummary, err error) {
	query := `SELECT id, created_ms, as_of_ms, what_if, narrowed, (SELECT count(*) FROM evaluation_workspace w WHERE w.evaluation_id = e.id), coalesce(digest, '')
		FROM evaluation e ORDER BY id DESC`
	for c, err := range sqlite.Scan(ctx, db.q, query) {
		if err != nil {
			return nil, sqlite.Failure(opReport, db.Path, err)
		}
		e := EvaluationSummary{ID: c.Int(), Created: time.UnixMilli(c.Int()).UTC(), AsOf: time.UnixMilli(c.Int()).UTC(), WhatIf: c.Text(), Narrowed: c.Bool(), Findings: engine.Tally{}}
		e.Workspaces, e.Digest = int(c.Int()), c.Text()
		if c.Err != nil {
			return nil, sqlite.Failure(opReport, db.Path, c.Err)
		}
		list = append(list, e)
	}
	counts := map[int64]engine.Tally{}
	for c, err := range sqlite.Scan(ctx, db.q, `SELECT evaluation_id, status, sum(count) FROM tally GROUP BY 1, 2`) {
		if err != nil {
			return nil, sqlite.Failure(opReport, db.Path, err)
		}
		id, status, count := c.Int(), engine.Status(c.Text()), int(c.Int())
		if c.Err != nil {
			return nil, sqlite.Failure(opReport, db.Path, c.Err)
		}
		if counts[id] == nil {
			counts[id] = engine.Tally{}
		}
		counts[id][status] = count
	}
	for i := range list {
		list[i].Findings = counts[list[i].ID]
	}
	return list, nil
}

// DigestHolder says which snapshot or evaluation has a digest; "" when none has.
func (db *DB) DigestHolder(ctx context.Context, digest string) (holder string, err error) {
	query := `SELECT 'snapshot ' || id FROM snapshot WHERE digest = ?1 UNION ALL SELECT 'pruned snapshot ' || id FROM pruned_snapshot WHERE digest = ?1
		UNION ALL SELECT 'evaluation ' || id FROM evaluation WHERE digest = ?1 LIMIT 1`
	for c, err := range sqlite.Scan(ctx, db.q, query, digest) {
		if err != nil {
			return "", sqlite.Failure(opVerify, db.Path, err)
		}
		holder = c.Text()
	}
	return holder, nil
}

// BeginApply notes with which journal apply began a plan. It is told when the
// journal knows the plan and before anything is sent: what is noted here is in
// the journal, unless somebody took it away.
func (db *DB) BeginApply(ctx context.Context, plan, journal string) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return sqlite.Failure("note plan", db.Path, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO applied_plan (plan_sha, journal, begun_ms) VALUES (?, ?, ?)
		ON CONFLICT (plan_sha) DO UPDATE SET journal = excluded.journal, begun_ms = excluded.begun_ms`, plan, journal, db.Now().UnixMilli())
	if err != nil {
		return sqlite.Failure("note plan", db.Path, errors.Join(err, tx.Rollback()))
	}
	return sqlite.Failure("note plan", db.Path, tx.Commit())
}

// AppliedWith is the journal with which apply began a plan, "" when it never did.
func (db *DB) AppliedWith(ctx context.Context, plan string) (journal string, err error) {
	for c, err := range sqlite.Scan(ctx, db.q, `SELECT journal FROM applied_plan WHERE plan_sha = ?`, plan) {
		if err != nil {
			return "", sqlite.Failure("read plans", db.Path, err)
		}
		journal = c.Text()
	}
	return journal, nil
}

// Exceptions stores what waivers and the baseline came to.
func (e *Evaluation) Exceptions(x engine.Exceptions) error {
	return e.failed(e.exceptions(x))
}

func (e *Evaluation) exceptions(x engine.Exceptions) error {
	if x.None() {
		return nil
	}
	document, err := saveJSON(e.ctx, e.tx, x)
	if err != nil {
		return fmt.Errorf("exceptions: %w", err)
	}
	_, err = e.tx.ExecContext(e.ctx, `UPDATE evaluation SET exceptions = ? WHERE id = ?`, document, e.id)
	return err
}

// exceptions are empty when there were neither waivers nor a baseline.
func (db *DB) exceptions(ctx context.Context, evaluation int64) (x engine.Exceptions, err error) {
	query := `SELECT d.body FROM evaluation e JOIN document d ON d.digest = e.exceptions WHERE e.id = ?`
	for c, err := range sqlite.Scan(ctx, db.q, query, evaluation) {
		if err != nil {
			return x, err
		}
		text := c.Text()
		if c.Err != nil {
			return x, c.Err
		}
		if err := json.Unmarshal([]byte(text), &x); err != nil {
			return x, fmt.Errorf("stored exceptions: %w", err)
		}
	}
	return x, nil
}
