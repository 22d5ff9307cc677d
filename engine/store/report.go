package store

import (
	"cmp"
	"context"
	"encoding/json"
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
func (db *DB) Report(ctx context.Context, evaluationID int64) (_ engine.Report, err error) {
	h, err := db.Evaluation(ctx, evaluationID)
	if err != nil {
		return engine.Report{}, err
	}
	defer db.explain(opReport, &err)
	snapshots, err := db.snapshotsOf(ctx, h.Snapshots)
	if err != nil {
		return engine.Report{}, err
	}
	r := engine.Report{
		Version: h.Version, WhatIf: h.WhatIf, AsOf: h.AsOf, FailOn: h.FailOn, Narrowed: h.Narrowed, Framework: h.Framework, MayMiss: h.MayMiss,
		Workspaces: make([]engine.WorkspaceReport, len(snapshots)), Policies: make([]engine.PolicyReport, len(h.Policies)),
	}
	for i, s := range snapshots {
		w := engine.WorkspaceReport{Snapshot: s, Counts: engine.Tally{}, Policies: map[string]engine.Tally{}}
		for name, into := range map[engine.SectionName]any{engine.SectionSettings: &w.Settings, engine.SectionGrants: &w.Grants} {
			if document := s.Documents[name]; document != nil && usable(s, name) {
				if err := json.Unmarshal(document, into); err != nil {
					return engine.Report{}, fmt.Errorf("section %s of snapshot %d: %w", name, s.ID, err)
				}
			}
		}
		r.Workspaces[i] = w
	}
	for i, p := range h.Policies {
		r.Policies[i] = engine.PolicyReport{Policy: p, Tally: engine.Tally{}}
	}
	if err := db.count(ctx, evaluationID, &r); err != nil {
		return engine.Report{}, err
	}
	query := `SELECT d.body FROM evaluation e JOIN document d ON d.digest = e.exceptions WHERE e.id = ?`
	for c, err := range sqlite.Scan(ctx, db.q, query, evaluationID) {
		if err != nil {
			return engine.Report{}, err
		}
		if err := json.Unmarshal([]byte(c.Text()), &r.Exceptions); err != nil {
			return engine.Report{}, fmt.Errorf("stored exceptions: %w", err)
		}
	}
	if r.Digest, err = db.evaluationSeal(ctx, evaluationID); err != nil {
		return engine.Report{}, err
	}
	r.Intact = func() error {
		return cmp.Or(db.IntactEvaluation(ctx, evaluationID), db.Intact(ctx, snapshots...))
	}
	r.Findings = db.findings(ctx, evaluationID, r.Workspaces, h.Policies)
	r.Tokens = func(yield func(engine.TokenRow, error) bool) {
		for _, s := range snapshots { // they stand in order already
			for subject, err := range db.Subjects(ctx, s.ID, h.AsOf, usable(s, engine.SectionAuditLog)) {
				if !yield(engine.TokenRow{Workspace: s.Workspace, Subject: subject}, err) || err != nil {
					return
				}
			}
		}
	}
	if r.Trend, err = db.trend(ctx, evaluationID, r, h.Policies); err != nil {
		return engine.Report{}, sqlite.Cause(ctx, err)
	}
	slices.SortStableFunc(r.Policies, func(a, b engine.PolicyReport) int { // they come by id
		return cmp.Compare(a.Policy.Severity.Rank(), b.Policy.Severity.Rank())
	})
	return r, nil
}

// count fills in the tallies and the summary of a report, whose policies come by id.
// Results are counted by the severity in force where they were judged: findings by
// their own, the others by that of the policy there.
func (db *DB) count(ctx context.Context, evaluation int64, r *engine.Report) error {
	r.Summary = engine.Summary{Workspaces: len(r.Workspaces), Statuses: engine.Tally{}, Severities: map[engine.Severity]engine.Tally{}}
	for _, w := range r.Workspaces {
		r.Summary.Tokens += w.Snapshot.Tokens
	}
	for _, level := range engine.Severities() {
		r.Summary.Severities[level] = engine.Tally{}
	}
	for c, err := range sqlite.Scan(ctx, db.q, `SELECT workspace, policy, status, count FROM tally WHERE evaluation_id = ?`, evaluation) {
		if err != nil {
			return err
		}
		workspace, policy, status, count := c.Int(), c.Int(), engine.Status(c.Text()), int(c.Int())
		if !within(workspace, r.Workspaces) || !within(policy, r.Policies) {
			return fmt.Errorf("stored tally refers to workspace %d and policy %d, which are not there", workspace, policy)
		}
		w, p := r.Workspaces[workspace], r.Policies[policy]
		w.Counts[status] += count
		if w.Policies[p.Policy.ID] == nil {
			w.Policies[p.Policy.ID] = engine.Tally{}
		}
		w.Policies[p.Policy.ID][status] += count
		p.Tally[status] += count
		r.Summary.Statuses[status] += count
		if level := r.Summary.Severities[p.Policy.SeverityIn(w.Snapshot.Workspace.ID)]; !status.Finding() && level != nil {
			level[status] += count
		}
	}
	query := `SELECT rank, status, count(*) FROM finding WHERE evaluation_id = ? GROUP BY rank, status`
	for c, err := range sqlite.Scan(ctx, db.q, query, evaluation) {
		if err != nil {
			return err
		}
		rank := c.Int()
		if !within(rank, engine.Severities()) {
			return fmt.Errorf("stored finding has severity rank %d, which is none", rank)
		}
		r.Summary.Severities[engine.Severities()[rank]][engine.Status(c.Text())] += int(c.Int())
	}
	return nil
}

func within[T any](i int64, list []T) bool { return i >= 0 && i < int64(len(list)) }

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
	v.version, v.comment, v.defects, (SELECT u.day * 86400000 + coalesce(u.ms, 0) FROM token_use u
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
		findings := sqlite.Rows(ctx, db.q, func(c *sqlite.Row) engine.Finding {
			digest.values('F', c.Values()[:sealedColumns])
			f := readFinding(c, workspaces, policies)
			if version := c.IntOrNull(); version != nil {
				f.Token = &engine.FindingToken{Comment: c.Text()}
				for _, d := range readDefects(c) {
					f.Token.Defects = append(f.Token.Defects, d.Field)
				}
				f.Token.LastUsed = c.IntOrNull()
			}
			return f
		}, reportedQuery, evaluation)
		for f, err := range findings {
			if !yield(f, sqlite.Failure("read findings", db.Path, err)) || err != nil {
				return
			}
		}
		if err := db.sealed(ctx, evaluation, digest.hex()); err != nil {
			yield(engine.Finding{}, sqlite.Failure("read findings", db.Path, err))
		}
	}
}

// readFinding reads the columns of findingSelect.
func readFinding(c *sqlite.Row, workspaces []engine.WorkspaceReport, policies []engine.Policy) engine.Finding {
	policy, workspace := c.Int(), c.Int()
	if !within(workspace, workspaces) || !within(policy, policies) {
		c.Fail(fmt.Errorf("stored finding refers to workspace %d and policy %d, which are not there", workspace, policy))
		return engine.Finding{}
	}
	p, w := policies[policy], workspaces[workspace].Snapshot.Workspace
	f := engine.Finding{
		Policy: p.ID, Workspace: w.Name, WorkspaceID: w.ID,
		Resource: engine.Resource(c.Text()), ResourceID: c.Text(), Status: engine.Status(c.Text()),
		Title: c.TextOr(p.Title), Severity: engine.Severity(c.TextOr(string(p.Severity))), Remedy: c.TextOr(p.Remedy),
		Owner: c.Text(), Message: c.Text(),
	}
	if evidence := c.TextOrNull(); evidence != "" {
		if err := decodeExact(evidence, &f.Evidence); err != nil {
			c.Fail(fmt.Errorf("stored evidence is damaged: %w", err))
		}
		exact(f.Evidence)
	}
	f.Fingerprint = readFingerprint(c)
	if waiver := c.TextOrNull(); waiver != "" {
		if err := decodeExact(waiver, &f.Waiver); err != nil {
			c.Fail(fmt.Errorf("stored waiver is damaged: %w", err))
		}
	}
	f.OwnerID = c.Text()
	if since := c.IntOrNull(); since != nil && f.Status.Judged() {
		f.Since = time.UnixMilli(*since).UTC()
	}
	return f
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
	defer db.explain(opReport, &err)
	counts := map[int64]engine.Tally{}
	for c, err := range sqlite.Scan(ctx, db.q, `SELECT evaluation_id, status, sum(count) FROM tally GROUP BY 1, 2`) {
		if err != nil {
			return nil, err
		}
		id := c.Int()
		if counts[id] == nil {
			counts[id] = engine.Tally{}
		}
		counts[id][engine.Status(c.Text())] = int(c.Int())
	}
	query := `SELECT id, created_ms, as_of_ms, what_if, narrowed, (SELECT count(*) FROM evaluation_workspace w WHERE w.evaluation_id = e.id), coalesce(digest, '')
		FROM evaluation e ORDER BY id DESC`
	return sqlite.List(ctx, db.q, func(c *sqlite.Row) EvaluationSummary {
		e := EvaluationSummary{ID: c.Int(), Created: time.UnixMilli(c.Int()).UTC(), AsOf: time.UnixMilli(c.Int()).UTC(), WhatIf: c.Text(), Narrowed: c.Bool()}
		e.Workspaces, e.Digest, e.Findings = int(c.Int()), c.Text(), counts[e.ID]
		return e
	}, query)
}

// DigestHolder says which snapshot or evaluation has a digest; "" when none has.
func (db *DB) DigestHolder(ctx context.Context, digest string) (holder string, err error) {
	query := `SELECT 'snapshot ' || id FROM snapshot WHERE digest = ?1 UNION ALL SELECT 'pruned snapshot ' || id FROM pruned_snapshot WHERE digest = ?1
		UNION ALL SELECT 'evaluation ' || id FROM evaluation WHERE digest = ?1 LIMIT 1`
	_, err = sqlite.First(ctx, db.q, query, []any{digest}, &holder)
	return holder, sqlite.Failure(opVerify, db.Path, err)
}
