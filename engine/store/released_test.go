package store

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
)

// released unpacks a file that a released program wrote, see testdata/databases.
func released(t *testing.T, schema, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "testdata", "databases", schema, name))
	must(t, err)
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	must(t, err)
	data, err := io.ReadAll(unzipped)
	must(t, err)
	return data
}

// TestReleasedDatabasesAreIntact opens what each released program wrote. Every
// snapshot still has the digest that it was sealed with then, and the latest
// evaluation says what its report said.
func TestReleasedDatabasesAreIntact(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	for schema, count := range map[string]int{"schema-6": 10, "schema-7": 4} {
		t.Run(schema, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "patrol.db")
			must(t, os.WriteFile(path, released(t, schema, "patrol.db.gz"), 0o600))
			db := mustOpen(t, path, readWrite)
			snapshots, err := db.Snapshots(t.Context())
			must(t, err)
			for i, err := range db.VerifySnapshots(t.Context(), snapshots...) {
				if err != nil {
					t.Errorf("snapshot %d: %v", snapshots[i].ID, err)
				}
			}
			must(t, db.VerifyChain(t.Context()))
			if len(snapshots) != count {
				t.Errorf("%d snapshots, want %d", len(snapshots), count)
			}
			mustSave(t, db, capture("prod-analytics", snapshots[0].Workspace.ID, snapshots[0].CollectedAt.AddDate(0, 0, 1), population(5, 2, ""), nil))
			must(t, db.VerifyChain(t.Context()))

			var told struct {
				Results []struct{ Policy, Status, Fingerprint, Message string }
			}
			must(t, json.NewDecoder(bytes.NewReader(released(t, schema, "audit.json.gz"))).Decode(&told))
			id, err := db.LatestEvaluation(t.Context())
			must(t, err)
			report, err := db.Report(t.Context(), id)
			must(t, err)
			var got, want []string
			for f, err := range report.Findings {
				must(t, err)
				f = f.Redacted()
				got = append(got, strings.Join([]string{f.Policy, string(f.Status), f.Fingerprint}, " "))
			}
			for _, r := range told.Results {
				want = append(want, strings.Join([]string{r.Policy, r.Status, r.Fingerprint}, " "))
			}
			if !slices.Equal(got, want) {
				t.Errorf("findings are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestReadingIsVerifying edits each part of a snapshot: whoever reads its tokens
// whole gets them, and at the end an error.
func TestReadingIsVerifying(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"nothing":     ``,
		"a token":     `UPDATE token_version SET comment = 'x' WHERE version = 1`,
		"a last use":  `UPDATE token_use SET day = 1 WHERE token_key = (SELECT min(token_key) FROM token_use)`,
		"a raw row":   `UPDATE raw_shape SET text = replace(text, '123456789012345', '1')`,
		"a principal": `UPDATE principal_version SET admin = 1 WHERE principal_id = '5000000000000001'`,
		"a setting":   `UPDATE document SET body = '{"maxTokenLifetimeDays":{"value":"0"}}' WHERE digest = (SELECT document FROM section WHERE name = 'settings')`,
		"coverage":    `UPDATE section SET status = 'complete' WHERE name = 'grants'`,
		"a log":       `UPDATE token_activity SET events = 1`,
		"a row less":  `DELETE FROM token_version WHERE version = 2`,
	} {
		t.Run(name, func(t *testing.T) {
			db := newDB(t)
			c := capture("prod", "1", now, population(10, 3, ""), directory(3))
			c.Sections[engine.SectionAuditLog] = engine.Section{Coverage: complete, Document: json.RawMessage(`{"rows":1}`), Activity: func(yield func(engine.Activity, error) bool) {
				yield(engine.Activity{TokenID: tokenID(1), Events: 3}, nil)
			}}
			s := mustSave(t, db, c)
			if statement != "" {
				_, err := db.SQL.ExecContext(t.Context(), statement)
				must(t, err)
			}
			must(t, db.Read(t.Context(), func(view *DB) error {
				for _, peers := range []bool{false, true} {
					if statement == "" {
						collect(t, view.Subjects(t.Context(), s.ID, now, peers))
						continue
					}
					var n int
					var last error
					for _, err := range view.Subjects(t.Context(), s.ID, now, peers) {
						if last = err; err == nil {
							n++
						}
					}
					wantReason(t, last, "digest_mismatch")
					if n < 9 {
						t.Errorf("%d tokens", n)
					}
				}
				err := view.Intact(t.Context(), s)
				if statement == "" {
					return err
				}
				wantReason(t, err, "digest_mismatch")
				return nil
			}))
		})
	}
}

// TestViewsStayAsTheyAre: what was found intact in a view does not change when
// somebody edits the database meanwhile; the next view sees the edit.
func TestViewsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	s := mustSave(t, db, capture("prod", "1", now, population(10, 3, ""), directory(3)))
	must(t, db.Read(t.Context(), func(view *DB) error {
		must(t, view.Intact(t.Context(), s))
		_, err := db.SQL.ExecContext(t.Context(), `UPDATE token_version SET comment = 'edited'`)
		must(t, err)
		for _, subject := range collect(t, view.Subjects(t.Context(), s.ID, now, true)) {
			if subject.Token.Comment == "edited" {
				t.Fatal("the view changed")
			}
		}
		return view.Intact(t.Context(), s)
	}))
	wantReason(t, db.Read(t.Context(), func(view *DB) error { return view.Intact(t.Context(), s) }), "digest_mismatch")
}
