// Package parquet writes what an evaluation saw as Parquet files, so that
// history beyond one machine is queried where the other large tables are. It is
// apart from the report formats because it makes a directory of tables, one
// partition a day, to which each run adds its files, instead of one document.
package parquet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/outfile"

	"github.com/parquet-go/parquet-go"
)

// Source is what is exported.
type Source struct {
	Report engine.Report // redacted, as every report
	// Changes are those of a judged snapshot since the workspace's snapshot
	// before; none where there is no such snapshot, or one did not read tokens.
	Changes func(engine.Snapshot) (before engine.Snapshot, changes iter.Seq2[engine.TokenChange, error], err error)
	Files   outfile.Files // how files are written
}

// Write writes the tables tokens, results and changes below dir:
// <table>/snapshot_date=<day>/<name>.parquet, as Spark and Delta read
// partitions. Names follow from what a file holds: writing the same again
// replaces the same files by the same bytes. It returns the paths written,
// also when it fails. Memory does not grow with the number of rows.
func Write(ctx context.Context, dir string, s Source) ([]string, error) {
	var paths []string
	for _, write := range []func(context.Context, string, Source) ([]string, error){writeTokens, writeResults, writeChanges} {
		more, err := write(ctx, dir, s)
		if paths = append(paths, more...); err != nil {
			return paths, err
		}
	}
	return paths, nil
}

// rowGroup is how many rows are held before they are written.
const rowGroup = 50_000

// writeFile writes the rows of one file of a table and returns its path.
func writeFile[R any](ctx context.Context, dir string, files outfile.Files, table string, day time.Time, name string, rows iter.Seq2[R, error]) (string, error) {
	dir = filepath.Join(dir, table, "snapshot_date="+day.UTC().Format(time.DateOnly))
	if err := outfile.MakeDir(dir); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+".parquet")
	return path, files.Write(path, func(w io.Writer) error {
		out := parquet.NewGenericWriter[R](w, parquet.MaxRowsPerRowGroup(rowGroup), parquet.CreatedBy("patrol", "1", ""))
		for row, err := range rows {
			if err := errors.Join(ctx.Err(), err); err != nil {
				return err
			}
			if _, err := out.Write([]R{row}); err != nil {
				return fmt.Errorf("write %s: %w", table, err)
			}
		}
		return out.Close()
	})
}

// writeTokens writes a file per snapshot. The report's tokens come by workspace, in
// the order of its workspaces.
func writeTokens(ctx context.Context, dir string, source Source) (paths []string, _ error) {
	next, stop := iter.Pull2(source.Report.Tokens)
	defer stop()
	row, err, more := next()
	for _, w := range source.Report.Workspaces {
		s := w.Snapshot
		if !s.Coverage[engine.SectionTokens].Usable() {
			continue // no file: not read is not the same as no tokens
		}
		path, failure := writeFile(ctx, dir, source.Files, "tokens", s.CollectedAt, s.Digest, func(yield func(tokenRow, error) bool) {
			for more && (err != nil || row.Workspace.ID == s.Workspace.ID) {
				if !yield(tokenRowOf(s, row), err) || err != nil {
					return
				}
				row, err, more = next()
			}
		})
		if failure != nil {
			return paths, failure
		}
		paths = append(paths, path)
	}
	if more {
		return paths, errors.Join(err, fmt.Errorf("tokens of workspace %s are out of order", row.Workspace.Name))
	}
	return paths, nil
}

// writeResults writes a file per day of judged snapshots. A finding on a workspace
// stands under the day of its snapshot.
func writeResults(ctx context.Context, dir string, source Source) (paths []string, _ error) {
	snapshots := map[string]engine.Snapshot{}
	days := map[string][]engine.Snapshot{}
	for _, w := range source.Report.Workspaces {
		snapshots[w.Snapshot.Workspace.ID] = w.Snapshot
		day := w.Snapshot.CollectedAt.UTC().Format(time.DateOnly)
		days[day] = append(days[day], w.Snapshot)
	}
	for _, day := range engine.SortedKeys(days) {
		rows := func(yield func(resultRow, error) bool) {
			for f, err := range source.Report.Findings {
				s := snapshots[f.WorkspaceID]
				if err == nil && s.CollectedAt.UTC().Format(time.DateOnly) != day {
					continue
				}
				row, encoding := resultRowOf(source.Report, s, f)
				if !yield(row, errors.Join(err, encoding)) {
					return
				}
			}
		}
		path, err := writeFile(ctx, dir, source.Files, "results", days[day][0].CollectedAt, evaluationName(source.Report, days[day]), rows)
		if err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// evaluationName names an evaluation of snapshots: by what was judged, as of when
// and by which policies with which parameters.
func evaluationName(r engine.Report, judged []engine.Snapshot) string {
	var parts []string
	for _, s := range judged {
		parts = append(parts, s.Digest)
	}
	slices.Sort(parts)
	for _, p := range r.Policies {
		parts = append(parts, fmt.Sprintf("%s %v", p.Policy.ID, p.Policy.Params))
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %q", r.AsOf.UnixMilli(), parts))
	return hex.EncodeToString(sum[:])
}

// writeChanges writes a file per snapshot that has one before.
func writeChanges(ctx context.Context, dir string, source Source) (paths []string, _ error) {
	for _, w := range source.Report.Workspaces {
		s := w.Snapshot
		before, changes, err := source.Changes(s)
		if err != nil {
			return paths, err
		}
		if changes == nil {
			continue
		}
		path, err := writeFile(ctx, dir, source.Files, "changes", s.CollectedAt, s.Digest, func(yield func(changeRow, error) bool) {
			for c, err := range changes {
				if err != nil {
					yield(changeRow{}, err)
					return
				}
				if !yield(changeRowOf(before, s, c), nil) {
					return
				}
			}
		})
		if err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// Place is in which snapshot a row was seen. Times are milliseconds, UTC.
type Place struct {
	WorkspaceID string `parquet:"workspace_id,dict,zstd"`
	Workspace   string `parquet:"workspace,dict,zstd"`
	Cloud       string `parquet:"cloud,dict,zstd"`
	Digest      string `parquet:"snapshot_digest,dict,zstd"` // whole; what tells snapshots apart in any database
	CollectedAt int64  `parquet:"collected_at,timestamp(millisecond),delta"`
}

func placeOf(s engine.Snapshot) Place {
	return Place{s.Workspace.ID, s.Workspace.Name, s.Workspace.Cloud, s.Digest, s.CollectedAt.UnixMilli()}
}

// tokenRow is a row of the table tokens. What is unknown is null.
type tokenRow struct {
	Place
	TokenID        string   `parquet:"token_id,zstd"`
	Comment        string   `parquet:"comment,zstd"`
	CreatedAt      *int64   `parquet:"created_at,timestamp(millisecond)"`
	ExpiresAt      *int64   `parquet:"expires_at,timestamp(millisecond)"`
	NeverExpires   *bool    `parquet:"never_expires"`
	LastUsedAt     *int64   `parquet:"last_used_at,timestamp(millisecond)"`
	Used           *bool    `parquet:"used"`
	AgeDays        *int64   `parquet:"age_days"`
	LifetimeDays   *int64   `parquet:"lifetime_days"`
	IdleDays       *int64   `parquet:"idle_days"`
	ExpiresInDays  *int64   `parquet:"expires_in_days"`
	Expired        *bool    `parquet:"expired"`
	OnBehalf       *bool    `parquet:"on_behalf"`
	OwnerID        string   `parquet:"owner_id,dict,zstd"`
	OwnerName      string   `parquet:"owner_name,dict,zstd"`
	OwnerKind      string   `parquet:"owner_kind,dict,zstd"`
	OwnerActive    *bool    `parquet:"owner_active"`
	OwnerAdmin     *bool    `parquet:"owner_admin"`
	CreatorID      string   `parquet:"creator_id,dict,zstd"`
	CreatorName    string   `parquet:"creator_name,dict,zstd"`
	Scopes         []string `parquet:"scopes,list"`
	AutoscopeState string   `parquet:"autoscope_state,dict,zstd"`
	Unknown        []string `parquet:"unknown,list"` // facts that could not be derived
}

func tokenRowOf(s engine.Snapshot, t engine.TokenRow) tokenRow {
	row := tokenRow{
		Place: placeOf(s), TokenID: t.Token.ID, Comment: t.Token.Comment, CreatedAt: t.Token.Created, LastUsedAt: t.Facts.LastUsed,
		NeverExpires: t.Facts.NeverExpires, Used: t.Facts.Used, AgeDays: t.Facts.AgeDays, LifetimeDays: t.Facts.LifetimeDays,
		IdleDays: t.Facts.IdleDays, ExpiresInDays: t.Facts.ExpiresInDays, Expired: t.Facts.Expired, OnBehalf: t.Facts.OnBehalf,
		OwnerID: t.Token.OwnerID, OwnerName: t.Owner.Name, OwnerKind: string(t.Owner.Kind), OwnerActive: t.Owner.Active, OwnerAdmin: t.Owner.Admin,
		CreatorID: t.Token.CreatorID, CreatorName: t.Token.CreatorName, Scopes: t.Token.Scopes,
		AutoscopeState: t.Token.AutoscopeState, Unknown: t.Facts.Unknown,
	}
	row.ExpiresAt = moment(t.Token.Expires)
	return row
}

// moment is an end that lies in time: an endless token has none.
func moment(expires *int64) *int64 {
	if expires == nil || *expires == engine.NeverExpires {
		return nil
	}
	return expires
}

// resultRow is a row of the table results: findings, as audit.json has them.
type resultRow struct {
	Place
	AsOf        int64  `parquet:"as_of,timestamp(millisecond),delta"`
	Version     string `parquet:"patrol_version,dict,zstd"`
	Policy      string `parquet:"policy,dict,zstd"`
	Severity    string `parquet:"severity,dict,zstd"`
	Status      string `parquet:"status,dict,zstd"`
	Resource    string `parquet:"resource,dict,zstd"`
	ResourceID  string `parquet:"resource_id,zstd"`
	Owner       string `parquet:"owner,dict,zstd"`
	Message     string `parquet:"message,zstd"`
	Evidence    string `parquet:"evidence,zstd"` // JSON object
	Remedy      string `parquet:"remedy,dict,zstd"`
	Fingerprint string `parquet:"fingerprint,zstd"`
	WaiverID    string `parquet:"waiver_id,dict,zstd"`
	Since       *int64 `parquet:"since,timestamp(millisecond)"` // null: not known
}

func resultRowOf(r engine.Report, s engine.Snapshot, f engine.Finding) (resultRow, error) {
	evidence := f.Evidence
	if evidence == nil {
		evidence = map[string]any{}
	}
	text, err := json.Marshal(evidence)
	row := resultRow{
		Place: placeOf(s), AsOf: r.AsOf.UnixMilli(), Version: r.Version, Policy: f.Policy, Severity: string(f.Severity), Status: string(f.Status),
		Resource: string(f.Resource), ResourceID: f.ResourceID, Owner: f.Owner, Message: f.Message, Evidence: string(text),
		Remedy: f.Remedy, Fingerprint: f.Fingerprint,
	}
	if f.Waiver != nil {
		row.WaiverID = f.Waiver.ID
	}
	if !f.Since.IsZero() {
		since := f.Since.UnixMilli()
		row.Since = &since
	}
	return row, err
}

// changeRow is a row of the table changes: what became of a token since the
// workspace's snapshot before.
type changeRow struct {
	Place
	PreviousDigest string   `parquet:"previous_digest,dict,zstd"`
	PreviousAt     int64    `parquet:"previous_at,timestamp(millisecond),delta"`
	TokenID        string   `parquet:"token_id,zstd"`
	Change         string   `parquet:"change,dict,zstd"` // appeared, changed, vanished
	Fields         []string `parquet:"fields,list"`      // that changed
	Cause          string   `parquet:"cause,dict,zstd"`  // why it vanished; empty for other changes
	OwnerID        string   `parquet:"owner_id,dict,zstd"`
	Comment        string   `parquet:"comment,zstd"`
}

func changeRowOf(before, s engine.Snapshot, c engine.TokenChange) changeRow {
	last := c.Last()
	return changeRow{
		Place: placeOf(s), PreviousDigest: before.Digest, PreviousAt: before.CollectedAt.UnixMilli(), TokenID: last.ID,
		Change: string(c.Kind), Fields: slices.Clone(c.Fields), Cause: string(c.Cause),
		OwnerID: last.OwnerID, Comment: engine.RedactSecrets(last.Comment),
	}
}
