package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"

	driver "modernc.org/sqlite"
)

// rawDB opens a file by the driver alone, to prepare what Open must refuse.
func rawDB(t *testing.T, path string, statements ...string) {
	t.Helper()
	db := rawHandle(t, path)
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(statement, err)
		}
	}
}

func rawHandle(t *testing.T, path string) *sql.DB {
	t.Helper()
	connector, err := driver.NewConnector((&url.URL{Scheme: "file", Path: path, RawQuery: "mode=rwc"}).String())
	must(t, err)
	return sql.OpenDB(connector)
}

func TestOpenRefusesAndTouchesNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason  string
		prepare func(t *testing.T, path string)
	}{
		{"empty_file", func(t *testing.T, path string) { write(t, path, "") }},
		{"not_a_database", func(t *testing.T, path string) { write(t, path, strings.Repeat("garbage ", 1000)) }},
		{"not_a_database", func(t *testing.T, path string) { write(t, path, "SQLite format 3\x00") }},
		{"special_file", func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }},
		{"foreign", func(t *testing.T, path string) { rawDB(t, path, "CREATE TABLE t (a)") }},
		{"foreign", func(t *testing.T, path string) {
			rawDB(t, path, "PRAGMA application_id = 1196444487", "PRAGMA user_version = 1", "CREATE TABLE t (a)")
		}},
		{"newer_schema", func(t *testing.T, path string) {
			rawDB(t, path, "PRAGMA application_id = 1347703372", "PRAGMA user_version = 99", "CREATE TABLE t (a)")
		}},
	}
	for _, tt := range tests {
		for _, mode := range []Mode{ReadWrite, ReadOnly} {
			t.Run(tt.reason, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "x.db")
				tt.prepare(t, path)
				before := tree(t, dir)
				db, err := Open(t.Context(), path, Options{Mode: mode, Now: clock})
				if err == nil {
					db.Close()
				}
				wantReason(t, err, tt.reason)
				if after := tree(t, dir); after != before {
					t.Fatalf("directory changed from\n%q\nto\n%q", before, after)
				}
			})
		}
	}
}

func TestOpenNotFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Open(t.Context(), filepath.Join(dir, "no.db"), Options{Mode: ReadOnly, Now: clock})
	wantReason(t, err, "not_found")
	_, err = Open(t.Context(), filepath.Join(dir, "no.db"), Options{Mode: ReadWrite, MustExist: true, Now: clock})
	wantReason(t, err, "not_found")
	_, err = Open(t.Context(), filepath.Join(dir, "no", "no.db"), readWrite)
	wantReason(t, err, "not_found")
	if tree(t, dir) != "" {
		t.Fatal("something was created")
	}
}

func TestOpenWithoutClockIsRefused(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), filepath.Join(t.TempDir(), "x.db"), Options{Mode: ReadWrite})
	wantReason(t, err, "usage")
}

// A schema that a crash left in the write-ahead log is seen, and refused.
func TestNewerSchemaInLogIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	mustOpen(t, path, readWrite).Close()
	db := mustOpen(t, path, readWrite)
	if _, err := db.SQL.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "x.db")
	copyFile(t, path, copied)
	copyFile(t, path+"-wal", copied+"-wal")
	_, err := Open(t.Context(), copied, readWrite)
	wantReason(t, err, "newer_schema")
}

func TestOpenNamesWithMeaning(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a?mode=memory.db", "a#b.db", "100%41.db", "with space.db", ":memory:", "a&b=c.db", "ü\n.db", "a\xff.db"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		db, err := Open(t.Context(), path, readWrite)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		mustSave(t, db, capture("prod", "1", now, nil, nil))
		must(t, db.Close())
		entries, _ := os.ReadDir(dir)
		if len(entries) != 1 || entries[0].Name() != name {
			t.Errorf("%q made %v", name, entries)
		}
	}
}

func TestSettingsOnEveryConnection(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for range 5 { // all held at once: five connections
		conn, err := db.SQL.Conn(t.Context())
		must(t, err)
		defer conn.Close()
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "foreign_keys": "1", "synchronous": "2", "trusted_schema": "0",
			"cell_size_check": "1", "busy_timeout": "5000", "query_only": "0", "temp_store": "0",
		} {
			var got string
			must(t, conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
			if got != want {
				t.Errorf("%s is %s, want %s", pragma, got, want)
			}
		}
	}
}

func TestSettingsThatFailAreNoticed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	mustOpen(t, path, readWrite).Close()
	_, err := open(t.Context(), path, readWrite, schema(), sqlite.Tuning{Pragmas: []string{"foreign_keys(0)", "trusted_schema(1)"}})
	if err == nil || !strings.Contains(err.Error(), "connection settings") {
		t.Fatal(err)
	}
}

func TestReadOnlyCannotWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	mustOpen(t, path, readWrite).Close()
	db := mustOpen(t, path, Options{Mode: ReadOnly, Now: clock})
	_, err := db.SaveSnapshot(t.Context(), capture("prod", "1", now, nil, nil))
	wantReason(t, err, "readonly")
	_, err = db.BeginEvaluation(t.Context(), EvaluationHeader{})
	wantReason(t, err, "readonly")
	_, err = db.SQL.Exec("DELETE FROM snapshot")
	wantReason(t, sqlite.Failure("", "", err), "readonly")
}

const asNobody = "PATROL_TEST_AS_NOBODY"

// TestUnwritable runs itself again as a user without rights, because root may write anywhere.
func unwritableCases(t *testing.T, dir string) {
	for _, name := range []string{"file", "dir"} {
		sub := filepath.Join(dir, name)
		path := filepath.Join(sub, "x.db")
		before := tree(t, sub)
		_, err := Open(context.Background(), path, readWrite)
		wantReason(t, err, "readonly")
		db, err := Open(context.Background(), path, Options{Mode: ReadOnly, Now: clock})
		if err != nil {
			t.Fatalf("%s: read-only: %v", name, err)
		}
		latest, err := db.Latest(context.Background())
		if err != nil || len(latest) != 1 {
			t.Fatal(latest, err)
		}
		must(t, db.Close())
		if name == "dir" && tree(t, sub) != before {
			t.Fatalf("%s changed", name)
		}
	}
	_, err := Open(context.Background(), filepath.Join(dir, "dir", "new.db"), readWrite)
	wantReason(t, err, "readonly")
}

// publicDir makes a directory that every user can reach.
func publicDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/tmp", "patrol-store-*")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

// testBinary copies this program to where another user may run it.
func testBinary(t *testing.T, dir string) string {
	path, err := os.Executable()
	must(t, err)
	target := filepath.Join(dir, "store.test")
	copyFile(t, path, target)
	must(t, os.Chmod(target, 0o755))
	return target
}

func mustSaveAndClose(t *testing.T, path string) {
	t.Helper()
	db := mustOpen(t, path, readWrite)
	mustSave(t, db, capture("prod", "1", now, population(10, 3, ""), directory(3)))
	must(t, db.Close())
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	mustSaveAndClose(t, path)
	two := twoSteps(t, "ALTER TABLE snapshot ADD COLUMN note TEXT;")

	_, err := open(t.Context(), path, Options{Mode: ReadOnly, Now: clock}, two, sqlite.Tuning{})
	wantReason(t, err, "older_schema")
	if len(backups(t, path)) != 0 {
		t.Fatal("reading made a backup")
	}
	db, err := open(t.Context(), path, readWrite, two, sqlite.Tuning{})
	must(t, err)
	if _, err := db.SQL.Exec("SELECT note FROM snapshot"); err != nil {
		t.Fatal(err)
	}
	must(t, db.Close())
	_, err = Open(t.Context(), path, readWrite)
	wantReason(t, err, "newer_schema")

	kept := backups(t, path)
	if len(kept) != 1 {
		t.Fatal(kept)
	}
	info, err := os.Stat(kept[0])
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("backup has mode %v", info.Mode())
	}
	old := mustOpen(t, kept[0], readWrite) // the backup is a database of schema 1
	must(t, old.verifyLatest(t.Context()))
}

func TestFailedUpgradeKeepsTheOldSchema(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	mustSaveAndClose(t, path)
	_, err := open(t.Context(), path, readWrite, twoSteps(t, "CREATE TABLE note (a); CREATE TABLE snapshot (b);"), sqlite.Tuning{})
	e, ok := engine.AsError(err)
	if !ok || !strings.Contains(e.Hint, backups(t, path)[0]) {
		t.Fatal(err)
	}
	db := mustOpen(t, path, readWrite)
	must(t, db.verifyLatest(t.Context()))
	if _, err := db.SQL.Exec("SELECT * FROM note"); err == nil {
		t.Fatal("half of the step stayed")
	}
}

func TestUpgradeNoticesLostRows(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	mustSaveAndClose(t, path)
	_, err := open(t.Context(), path, readWrite, twoSteps(t, "DELETE FROM token_use;"), sqlite.Tuning{})
	if e, ok := engine.AsError(err); !ok || !strings.Contains(e.Hint, "kept in") {
		t.Fatal(err)
	}
}

// twoSteps is today's schema with one step more.
func twoSteps(t *testing.T, second string) sqlite.Schema {
	t.Helper()
	files := fstest.MapFS{}
	for i, step := range append(schema().Steps, second) {
		files[fmt.Sprintf("migrations/%04d_a.sql", i+1)] = &fstest.MapFile{Data: []byte(step)}
	}
	s := sqlite.MustLoad(files, "migrations", application)
	s.Sound = schema().Sound
	return s
}

func backups(t *testing.T, path string) []string {
	t.Helper()
	found, err := filepath.Glob(path + ".schema-*")
	must(t, err)
	return found
}

func TestBusy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	first := mustOpen(t, path, readWrite)
	second, err := open(t.Context(), path, readWrite, schema(), sqlite.Tuning{Timeout: 50 * time.Millisecond})
	must(t, err)
	t.Cleanup(func() { second.Close() })
	e, err := first.BeginEvaluation(t.Context(), EvaluationHeader{})
	must(t, err)
	_, err = second.SaveSnapshot(t.Context(), capture("prod", "1", now, nil, nil))
	wantReason(t, err, "busy")
	e.Rollback()
	mustSave(t, second, capture("prod", "1", now, nil, nil))
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	mustSaveAndClose(t, path)
	db, err := open(t.Context(), path, readWrite, schema(), sqlite.Tuning{Pragmas: []string{"max_page_count(60)"}})
	must(t, err)
	t.Cleanup(func() { db.Close() })
	_, err = db.SaveSnapshot(t.Context(), capture("prod", "1", now, population(5000, 10, "more"), nil))
	wantReason(t, err, "disk_full")
	must(t, db.verifyLatest(t.Context()))
	mustSave(t, db, capture("prod", "1", now, population(10, 3, "other"), nil))
}

func TestCorrupt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	mustSaveAndClose(t, path)
	data, err := os.ReadFile(path)
	must(t, err)
	copy(data[4096:], bytes.Repeat([]byte{0xff}, len(data)-4096))
	write(t, path, string(data))
	_, err = Open(t.Context(), path, readWrite)
	wantReason(t, err, "corrupt")
}

// The C library must find our files sound, too.
func TestAgainstSQLiteInC(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "x.db")
	mustSaveAndClose(t, path)
	out, err := exec.Command(program, path, "PRAGMA integrity_check; PRAGMA foreign_key_check; SELECT count(*) FROM token_version").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok\n10" {
		t.Fatalf("%v: %s", err, out)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, data, 0o600))
}

// tree is every name under a directory with its content.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		b.WriteString(path + "\n")
		if !entry.IsDir() {
			data, err := os.ReadFile(path)
			b.Write(data)
			return err
		}
		return nil
	}))
	return b.String()
}

func TestBackupRestores(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "patrol.db")
	db := mustOpen(t, path, readWrite)
	s := mustSave(t, db, capture("prod", "1", now, population(4, 2, ""), nil))
	reader := mustOpen(t, path, Options{Mode: ReadOnly, Now: clock})
	backup := filepath.Join(t.TempDir(), "copy.db")
	must(t, reader.Backup(t.Context(), backup))
	if err := db.Backup(t.Context(), backup); !errors.Is(err, os.ErrExist) {
		t.Errorf("a backup is overwritten: %v", err)
	}
	if _, err := reader.SQL.Exec("DELETE FROM snapshot"); err == nil {
		t.Error("a reader may write after a backup")
	}
	info, err := os.Stat(backup)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v", info.Mode())
	}
	for _, mode := range []Mode{ReadOnly, ReadWrite} {
		restored := mustOpen(t, backup, Options{Mode: mode, Now: clock})
		must(t, errors.Join(restored.VerifySnapshot(t.Context(), s.ID), restored.VerifyChain(t.Context()), restored.Close()))
	}
}

// TestTwoWritersKeepTheChain: of several that store snapshots of one workspace at
// once, each waits until it can name the one before, also where the workspace
// is only known by its name; a workspace beside has a chain of its own.
func TestTwoWritersKeepTheChain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	first, second, third := mustOpen(t, path, readWrite), mustOpen(t, path, readWrite), mustOpen(t, path, readWrite)
	returned := map[int64]engine.Snapshot{}
	var lock sync.Mutex
	save := func(db *DB, c engine.Capture) {
		s, err := db.SaveSnapshot(t.Context(), c)
		if err != nil {
			t.Error(err)
		}
		lock.Lock()
		defer lock.Unlock()
		returned[s.ID] = s
	}
	const rounds = 4
	for round := range rounds {
		at := now.AddDate(0, 0, round)
		var others sync.WaitGroup
		slow := capture("prod", "1", at, nil, nil)
		slow.Sections[engine.SectionTokens] = engine.Section{
			Coverage: engine.Coverage{Status: engine.Complete, Count: 1},
			Tokens: func(yield func(engine.Token, error) bool) {
				others.Go(func() { save(second, capture("prod", "1", at, population(2, 1, ""), nil)) })
				others.Go(func() { save(third, capture("prod", "", at, population(4, 1, ""), nil)) }) // does not tell its id
				others.Go(func() { save(second, capture("dev", "2", at, population(3, 1, ""), nil)) })
				time.Sleep(50 * time.Millisecond) // for all to have asked for what is there already
				yield(population(1, 1, "")[0], nil)
			},
		}
		save(first, slow)
		others.Wait()
	}
	last, n := map[int64]string{}, 0
	for c, err := range sqlite.Scan(t.Context(), first.SQL, `SELECT workspace_key, id, previous, digest FROM snapshot ORDER BY id`) {
		must(t, err)
		key, id, previous, digest := c.Int(), c.Int(), c.Text(), c.Text()
		must(t, c.Err)
		if previous != last[key] || returned[id].Previous != previous || returned[id].Digest != digest {
			t.Errorf("snapshot %d of workspace %d names %.12q, want %.12q; returned %.12q", id, key, previous, last[key], returned[id].Previous)
		}
		last[key] = digest
		n++
	}
	if n != 4*rounds || len(last) != 2 {
		t.Errorf("%d snapshots of %d workspaces, want %d of 2", n, len(last), 4*rounds)
	}
	must(t, first.VerifyChain(t.Context()))
}
