package rigs

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestZonesChangeNothing judges the same tokens in four time zones, at moments
// when clocks are put forward and when a leap day ends, and wants
// the same bytes in every file of every format.
func TestZonesChangeNothing(t *testing.T) {
	t.Parallel()
	binary := patrolBinary(t)
	tokens := filepath.Join(t.TempDir(), "tokens.json")
	if err := os.WriteFile(tokens, []byte(zoneTokens), 0o600); err != nil {
		t.Fatal(err)
	}
	patrolIn(t, binary, filepath.Dir(tokens), "UTC", exitOK, "collect", "--from", tokens)
	database := filepath.Join(filepath.Dir(tokens), "patrol.db")
	for _, asOf := range []string{"2026-03-29T01:30:00Z", "2028-02-29T23:59:59.999Z"} {
		var first map[string][]byte
		for _, zone := range []string{"UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati"} {
			if place, err := time.LoadLocation(zone); err != nil {
				t.Skip("no database of time zones:", err)
			} else if _, offset := time.Unix(0, 0).In(place).Zone(); (offset == 0) != (zone == "UTC") {
				t.Fatalf("%s is %d s from UTC", zone, offset)
			}
			files := judgedIn(t, binary, database, zone, asOf)
			if first == nil {
				first = files
			}
			if len(files) != len(first) || len(files) < 12 {
				t.Errorf("%s: %d files, %d in UTC", zone, len(files), len(first))
			}
			for name, content := range files {
				if !bytes.Equal(content, first[name]) {
					t.Errorf("%s as of %s differs in %s", name, asOf, zone)
				}
			}
		}
	}
}

// judgedIn evaluates and reports a copy of a database in a time zone: every
// file of every format, and what was printed.
func judgedIn(t *testing.T, binary, database, zone, asOf string) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	content, err := os.ReadFile(database)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "patrol.db"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"evaluate": patrolIn(t, binary, dir, zone, exitIncomplete, "evaluate", "--as-of", asOf), // a file of tokens says nothing of settings
		"report":   patrolIn(t, binary, dir, zone, exitIncomplete, "report", "--evaluation", "1", "--format", "csv,xlsx,html,json,sarif,junit,markdown,ocsf,oscal"),
		"tokens":   patrolIn(t, binary, dir, zone, exitOK, "tokens", "--format", "csv"),
	}
	err = filepath.WalkDir(filepath.Join(dir, "patrol-report"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[filepath.Base(path)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// patrolIn runs patrol in a folder and a time zone, and returns what it printed.
func patrolIn(t *testing.T, binary, dir, zone string, want int, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TZ="+zone, "HOME="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, _ := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != want {
		t.Fatalf("%s in %s: exit %d: %s", args[0], zone, code, stderr.String())
	}
	return stdout
}

// Tokens whose lives begin or end within hours of midnights and changes of clocks.
const zoneTokens = `[
  {"token_id": "aa00000000000000000000000000000000000000000000000000000000000000", "creation_time": 1774742400000, "expiry_time": 1774747800000, "owner_id": 1, "created_by_id": 1, "comment": "spring", "last_used_day": 1774742400000},
  {"token_id": "bb00000000000000000000000000000000000000000000000000000000000000", "creation_time": 1761350400000, "expiry_time": 1792886400000, "owner_id": 1, "created_by_id": 1, "comment": "autumn", "last_used_day": 1761350400000},
  {"token_id": "cc00000000000000000000000000000000000000000000000000000000000000", "creation_time": 1772150399000, "expiry_time": -1, "owner_id": 2, "created_by_id": 2, "comment": "leap", "last_used_day": 1772150400000}
]
`
