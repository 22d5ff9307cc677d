package parquet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	e := &export{ctx: ctx, dir: dir, Source: s}
	for _, table := range []func() error{e.tokens, e.results, e.changes} {
		if err := table(); err != nil {
			return e.paths, err
		}
	}
	return e.paths, nil
}

// export is one Write at work.
type export struct {
	Source

	ctx   context.Context
	dir   string
	paths []string
}

// rowGroup is how many rows are held before they are written.
const rowGroup = 50_000

// file writes the rows of one file of a table.
func file[R any](e *export, table string, day time.Time, name string, rows iter.Seq2[R, error]) error {
	dir := filepath.Join(e.dir, table, "snapshot_date="+day.UTC().Format(time.DateOnly))
	if err := outfile.MakeDir(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, name+".parquet")
	err := e.Files.Write(path, func(w io.Writer) error {
		out := parquet.NewGenericWriter[R](w, parquet.MaxRowsPerRowGroup(rowGroup), parquet.CreatedBy("patrol", "1", ""))
		for row, err := range rows {
			if err := errors.Join(e.ctx.Err(), err); err != nil {
				return err
			}
			if _, err := out.Write([]R{row}); err != nil {
				return fmt.Errorf("write %s: %w", table, err)
			}
		}
		return out.Close()
	})
	if err == nil {
		e.paths = append(e.paths, path)
	}
	return err
}

// tokens writes a file per snapshot. The report's tokens come by workspace, in
// the order of its workspaces.
func (e *export) tokens() error {
	next, stop := iter.Pull2(e.Report.Tokens)
	defer stop()
	row, err, more := next()
	for _, w := range e.Report.Workspaces {
		s := w.Snapshot
		if !s.Coverage[engine.SectionTokens].Usable() {
			continue // no file: not read is not the same as no tokens
		}
		failed := file(e, "tokens", s.CollectedAt, s.Digest, func(yield func(tokenRow, error) bool) {
			for more && (err != nil || row.Workspace.ID == s.Workspace.ID) {
				if !yield(tokenRowOf(s, row), err) || err != nil {
					return
				}
				row, err, more = next()
			}
		})
		if failed != nil {
			return failed
		}
	}
	if more {
		return errors.Join(err, fmt.Errorf("tokens of workspace %s are out of order", row.Workspace.Name))
	}
	return nil
}

// results writes a file per day of judged snapshots. A finding on a workspace
// stands under the day of its snapshot.
func (e *export) results() error {
	snapshots := map[string]engine.Snapshot{}
	days := map[string][]engine.Snapshot{}
	for _, w := range e.Report.Workspaces {
		snapshots[w.Snapshot.Workspace.ID] = w.Snapshot
		day := w.Snapshot.CollectedAt.UTC().Format(time.DateOnly)
		days[day] = append(days[day], w.Snapshot)
	}
	for _, day := range engine.SortedKeys(days) {
		rows := func(yield func(resultRow, error) bool) {
			for f, err := range e.Report.Findings {
				s := snapshots[f.WorkspaceID]
				if err == nil && s.CollectedAt.UTC().Format(time.DateOnly) != day {
					continue
				}
				row, encoding := resultRowOf(e.Report, s, f)
				if !yield(row, errors.Join(err, encoding)) {
					return
				}
			}
		}
		if err := file(e, "results", days[day][0].CollectedAt, e.nameOf(days[day]), rows); err != nil {
			return err
		}
	}
	return nil
}

// nameOf names an evaluation of snapshots: by what was judged, as of when and
// by which policies with which parameters.
func (e *export) nameOf(judged []engine.Snapshot) string {
	var parts []string
	for _, s := range judged {
		parts = append(parts, s.Digest)
	}
	slices.Sort(parts)
	for _, p := range e.Report.Policies {
		parts = append(parts, fmt.Sprintf("%s %v", p.Policy.ID, p.Policy.Params))
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %q", e.Report.AsOf.UnixMilli(), parts))
	return hex.EncodeToString(sum[:])
}

// changes writes a file per snapshot that has one before.
func (e *export) changes() error {
	for _, w := range e.Report.Workspaces {
		s := w.Snapshot
		before, changes, err := e.Changes(s)
		if err != nil {
			return err
		}
		if changes == nil {
			continue
		}
		err = file(e, "changes", s.CollectedAt, s.Digest, func(yield func(changeRow, error) bool) {
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
			return err
		}
	}
	return nil
}
