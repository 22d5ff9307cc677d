package store

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"patrol/engine/enginetest"
)

const upgradeThis = "PATROL_TEST_UPGRADE"

// TestMigrationsKilled kills the upgrade of a released database at
// random instants: then the file has the old schema or the new one, no mixture,
// and its snapshot verifies; what is called a backup is whole; the next run
// finishes the upgrade. Only a kill that met a living process counts:
// PATROLTEST_TORTURE_MIGRATIONS sets how many there must be; `make torture` asks for 1,000.
func TestMigrationsKilled(t *testing.T) {
	enginetest.NotInRace(t)
	if path := os.Getenv(upgradeThis); path != "" {
		upgradeInChild(t, path)
		return
	}
	base := oldSchema(t)
	fresh := filepath.Join(t.TempDir(), "fresh.db")
	mustOpen(t, fresh, readWrite).Close()
	states := map[string]int{tablesOf(t, base): 0, tablesOf(t, fresh): 0}
	whole, wanted, killed, copies, rounds := timeOfUpgrade(t, base), migrationsToKill(t), 0, 0, 0
	for ; killed < wanted && rounds < 4*wanted+20; rounds++ {
		path := filepath.Join(t.TempDir(), "x.db")
		copyFile(t, base, path)
		if took := killUpgrade(t, path, rand.N(whole)); took == 0 {
			killed++
			whole += whole / 100 // the machine may have become slower
		} else {
			whole = (3*whole + took*11/10) / 4
		}
		shape := tablesOf(t, path)
		if _, known := states[shape]; !known {
			t.Fatalf("the schema is neither old nor new:\n%s", shape)
		}
		states[shape]++
		copies += checkBackups(t, path, tablesOf(t, base))
		db := mustOpen(t, path, readWrite)
		must(t, db.VerifySnapshot(t.Context(), 1))
		must(t, db.Close())
		checkInC(t, path)
		must(t, os.RemoveAll(filepath.Dir(path)))
	}
	if killed < wanted {
		t.Errorf("%d kills in %d rounds, want %d", killed, rounds, wanted)
	}
	t.Logf("%d kills within %v, and %d upgrades that were done before: %d left the old schema, %d the new one; %d backups", killed, whole, rounds-killed, states[tablesOf(t, base)], states[tablesOf(t, fresh)], copies)
}

func upgradeInChild(t *testing.T, path string) {
	_, err := os.Stdout.WriteString("ready\n")
	must(t, err)
	db, err := Open(t.Context(), path, Options{Mode: ReadWrite, Now: time.Now})
	must(t, err)
	must(t, db.Close())
}

// oldSchema is what a released program wrote.
func oldSchema(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "old.db")
	must(t, os.WriteFile(path, released(t, "schema-6", "patrol.db.gz"), 0o600))
	return path
}

// upgrading starts the upgrade in a process of its own and returns when it is about to open the file.
func upgrading(t *testing.T, path string) *exec.Cmd {
	command := exec.Command(os.Args[0], "-test.run", "^TestMigrationsKilled$", "-test.count=1")
	command.Env = append(os.Environ(), upgradeThis+"="+path)
	out, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	return command
}

// timeOfUpgrade is a little more than an undisturbed upgrade takes.
func timeOfUpgrade(t *testing.T, base string) time.Duration {
	path := filepath.Join(t.TempDir(), "x.db")
	copyFile(t, base, path)
	command := upgrading(t, path)
	begin := time.Now()
	must(t, command.Wait())
	return time.Since(begin) * 11 / 10
}

// killUpgrade tells how long the upgrade took if it was done before it could be killed.
func killUpgrade(t *testing.T, path string, after time.Duration) (took time.Duration) {
	command := upgrading(t, path)
	begin := time.Now()
	timer := time.AfterFunc(after, func() { _ = command.Process.Kill() })
	defer timer.Stop()
	_ = command.Wait()
	if command.ProcessState.Exited() {
		took = time.Since(begin)
	}
	return took
}

// tablesOf is the version and every table, index and trigger of a database.
func tablesOf(t *testing.T, path string) string {
	t.Helper()
	db := rawHandle(t, path)
	defer db.Close()
	rows, err := db.Query("SELECT user_version FROM pragma_user_version UNION ALL SELECT sql FROM (SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name)")
	must(t, err)
	defer rows.Close()
	var shape strings.Builder
	for rows.Next() {
		var line string
		must(t, rows.Scan(&line))
		shape.WriteString(line + "\n")
	}
	must(t, rows.Err())
	return shape.String()
}

// checkBackups wants every file that is named a backup to be the old database, and counts them.
func checkBackups(t *testing.T, path, old string) int {
	t.Helper()
	kept := backups(t, path)
	for _, backup := range kept {
		if shape := tablesOf(t, backup); shape != old {
			t.Errorf("%s is no whole backup:\n%s", backup, shape)
		}
		checkInC(t, backup)
	}
	return len(kept)
}

func checkInC(t *testing.T, path string) {
	t.Helper()
	program, err := exec.LookPath("sqlite3")
	if err != nil {
		return // TestAgainstSQLiteInC says so
	}
	out, err := exec.Command(program, path, "PRAGMA integrity_check; SELECT count(*) FROM token_version").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok\n30" {
		t.Errorf("%s: %v: %s", path, err, out)
	}
}

// migrationsToKill is 20, or what PATROLTEST_TORTURE_MIGRATIONS says.
func migrationsToKill(t *testing.T) int {
	text, set := os.LookupEnv("PATROLTEST_TORTURE_MIGRATIONS")
	if !set {
		return 20
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}
