package main

import (
	"archive/zip"
	"bytes"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"patrol/engine/enginetest"

	"github.com/rogpeppe/go-internal/testscript"
)

// exits CODE [within=DURATION] COMMAND… runs a command and wants that exit
// code, in good time.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: exits CODE [within=DURATION] COMMAND [ARG…]")
	}
	code, command := args[0], args[1:]
	limit, limited := strings.CutPrefix(command[0], "within=")
	begun := time.Now()
	if limited {
		command = command[1:]
	}
	if got := exitOf(ts, command...); strconv.Itoa(got) != code {
		ts.Fatalf("exit code %d, want %s", got, code)
	}
	if limited && time.Since(begun) > distance(ts, limit) {
		ts.Fatalf("took %s, want at most %s", time.Since(begun), limit)
	}
}

func exitOf(ts *testscript.TestScript, command ...string) int {
	err := ts.Exec(command[0], command[1:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	return 0
}

// signals INT|TERM CODE COMMAND… runs a command, signals it once a call of it
// has met a fault, and wants that exit code.
func cmdSignals(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || neg {
		ts.Fatalf("usage: signals INT|TERM CODE COMMAND [ARG…]")
	}
	kind := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM}[args[0]]
	url, pidFile, done := ts.Getenv("SIM"), ts.MkAbs("pid"), make(chan struct{})
	before := faultsMet(url)
	go func() {
		for faultsMet(url) == before {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
		text, _ := os.ReadFile(pidFile)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			if process, err := os.FindProcess(pid); err == nil {
				_ = process.Signal(kind)
			}
		}
	}()
	got := exitOf(ts, append([]string{"sh", "-c", `echo $$ >pid; exec "$@"`, "sh"}, args[2:]...)...)
	close(done)
	if strconv.Itoa(got) != args[1] {
		ts.Fatalf("exit code %d, want %s", got, args[1])
	}
}

// faultsMet counts the calls that faults have spoilt so far.
// met N waits until calls have met so many faults, in all: what runs in the
// background has got there then, however busy the machine is.
func cmdMet(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: met N")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	for begun := time.Now(); faultsMet(ts.Getenv("SIM")) < want; time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 2*time.Minute {
			ts.Fatalf("calls have met %d faults, want %d", faultsMet(ts.Getenv("SIM")), want)
		}
	}
}

func faultsMet(url string) int {
	response, err := http.Get(url + "/_sim/faults")
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	var answer struct{ Faults []struct{ Seen int } }
	_ = json.NewDecoder(response.Body).Decode(&answer) // no answer, no faults
	met := 0
	for _, fault := range answer.Faults {
		met += fault.Seen
	}
	return met
}

// json FILE PATH VALUE wants a value at a dotted path of a JSON file; a number
// in the path is an index, and `len` the length.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: json FILE PATH VALUE")
	}
	got := fmt.Sprint(lookup(ts, parseJSON(ts, args[0]), args[1]))
	if (got == args[2]) == neg {
		ts.Fatalf("%s: %s is %s, want %s", args[0], args[1], got, args[2])
	}
}

func parseJSON(ts *testscript.TestScript, file string) any {
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile(file)))
	decoder.UseNumber()
	var value any
	ts.Check(decoder.Decode(&value))
	return value
}

func lookup(ts *testscript.TestScript, value any, path string) any {
	if path == "" {
		return value
	}
	key, rest, _ := strings.Cut(path, ".")
	switch v := value.(type) {
	case map[string]any:
		if whole, found := v[path]; found { // a key with a dot in it
			return whole
		}
		return lookup(ts, v[key], rest)
	case []any:
		if key == "len" {
			return len(v)
		}
		i, err := strconv.Atoi(key)
		if err != nil || i >= len(v) {
			ts.Fatalf("no element %s in a list of %d", key, len(v))
		}
		return lookup(ts, v[i], rest)
	}
	return nil
}

// findings FILE [KEY=VALUE…] COUNT counts the results of an audit.json that have
// all these values. COUNT may be + for at least one.
func cmdFindings(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: findings FILE [KEY=VALUE…] COUNT")
	}
	results, _ := lookup(ts, parseJSON(ts, args[0]), "results").([]any)
	conditions, want := args[1:len(args)-1], args[len(args)-1]
	count := 0
	for _, result := range results {
		if matchesAll(ts, result, conditions) {
			count++
		}
	}
	if want == "+" && count > 0 {
		return
	}
	if strconv.Itoa(count) != want {
		ts.Fatalf("%d findings with %v, want %s", count, conditions, want)
	}
}

func matchesAll(ts *testscript.TestScript, result any, conditions []string) bool {
	for _, condition := range conditions {
		path, want, _ := strings.Cut(condition, "=")
		if got := lookup(ts, result, path); !reflect.DeepEqual(fmt.Sprint(got), want) {
			return false
		}
	}
	return true
}

// tally FILE POLICY STATUS=COUNT… wants the counts of a policy in an audit.json.
func cmdTally(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || neg {
		ts.Fatalf("usage: tally FILE POLICY STATUS=COUNT…")
	}
	policies, _ := lookup(ts, parseJSON(ts, args[0]), "policies").([]any)
	i := slices.IndexFunc(policies, func(p any) bool { return lookup(ts, p, "id") == args[1] })
	if i < 0 {
		ts.Fatalf("no policy %s in %s", args[1], args[0])
	}
	for _, want := range args[2:] {
		status, count, _ := strings.Cut(want, "=")
		if got := fmt.Sprint(lookup(ts, policies[i], status)); got != count {
			ts.Fatalf("%s: %s %s, want %s", args[1], got, status, count)
		}
	}
}

// coverage FILE WORKSPACE SECTION=STATUS[/REASON]… wants the coverage of a
// workspace in an audit.json.
func cmdCoverage(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || neg {
		ts.Fatalf("usage: coverage FILE WORKSPACE SECTION=STATUS[/REASON]…")
	}
	workspaces, _ := lookup(ts, parseJSON(ts, args[0]), "workspaces").([]any)
	i := slices.IndexFunc(workspaces, func(w any) bool { return lookup(ts, w, "name") == args[1] })
	if i < 0 {
		ts.Fatalf("no workspace %s in %s", args[1], args[0])
	}
	for _, want := range args[2:] {
		section, state, _ := strings.Cut(want, "=")
		got := fmt.Sprint(lookup(ts, workspaces[i], "coverage."+section+".status"))
		if strings.Contains(state, "/") {
			got += "/" + fmt.Sprint(lookup(ts, workspaces[i], "coverage."+section+".reason"))
		}
		if got != state {
			ts.Fatalf("%s of %s: %s, want %s", section, args[1], got, state)
		}
	}
}

// mode PERM FILE… wants the permission bits of files.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: mode PERM FILE…")
	}
	for _, file := range args[1:] {
		info, err := os.Stat(ts.MkAbs(file))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", file, got, args[0])
		}
	}
}

// holds TEXT FILE… wants a text in each file, stdout or stderr; `! holds`
// wants it in none. Workbooks are looked into.
func cmdHolds(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || args[0] == "" {
		ts.Fatalf("usage: holds TEXT FILE…")
	}
	for _, file := range args[1:] {
		if bytes.Contains(contents(ts, file), []byte(args[0])) == neg {
			ts.Fatalf("%q in %s: %v", args[0], file, neg)
		}
	}
}

func contents(ts *testscript.TestScript, file string) []byte {
	data := []byte(ts.ReadFile(file))
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return data
	}
	for _, entry := range archive.File {
		r, err := entry.Open()
		ts.Check(err)
		text, err := io.ReadAll(r)
		ts.Check(err)
		data = append(data, text...)
	}
	return data
}

// harmless FILE… wants text that does nothing on a terminal: no character that
// acts instead of being seen, but line feeds.
func cmdHarmless(ts *testscript.TestScript, neg bool, args []string) {
	for _, file := range args {
		for line := range strings.Lines(ts.ReadFile(file)) {
			if what := enginetest.Acting(strings.TrimSuffix(line, "\n")); what != "" {
				ts.Fatalf("%s acts on a terminal by %q: %q", file, what, line)
			}
		}
	}
}

// overwrite FILE OLD NEW changes every occurrence of a text in a file, in place;
// overwrite FILE @OFFSET HEX writes bytes at an offset.
func cmdOverwrite(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: overwrite FILE OLD NEW | overwrite FILE @OFFSET HEX")
	}
	data := []byte(ts.ReadFile(args[0]))
	if offset, found := strings.CutPrefix(args[1], "@"); found {
		at, err := strconv.Atoi(offset)
		ts.Check(err)
		patch, err := hex.DecodeString(args[2])
		ts.Check(err)
		copy(data[at:], patch)
	} else if !bytes.Contains(data, []byte(args[1])) || len(args[1]) != len(args[2]) {
		ts.Fatalf("%q is not in %s, or not as long as %q", args[1], args[0], args[2])
	} else {
		data = bytes.ReplaceAll(data, []byte(args[1]), []byte(args[2]))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

// overtake JOURNAL takes the next epoch of every workspace, as a host would that
// sees none of this one's locks.
func cmdOvertake(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: overtake JOURNAL")
	}
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.Exec("UPDATE lease SET epoch = epoch + 1")
	ts.Check(errors.Join(err, db.Close()))
}

// lines FILE wants JSON objects, one a line.
func cmdLines(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: lines FILE")
	}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("%s: %q: %v", args[0], line, err)
		}
	}
}

// most FILE NUMBER wants a file of no more lines than that, and some. Lines that
// say every ten seconds how far a run is do not count: how many there are tells
// how busy this machine is.
func cmdMost(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: most FILE NUMBER")
	}
	most, err := strconv.Atoi(args[1])
	ts.Check(err)
	n := 0
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if !strings.HasSuffix(line, " so far\n") {
			n++
		}
	}
	if n > most || n == 0 {
		ts.Fatalf("%s has %d lines, want at most %d", args[0], n, most)
	}
}

// alike DIR OTHER wants each file below a directory to be the same in another.
func cmdAlike(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: alike DIR OTHER")
	}
	root := ts.MkAbs(args[0])
	ts.Check(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, _ := filepath.Rel(root, path)
		got, err := os.ReadFile(filepath.Join(args[1], name))
		if err == nil && string(got) != ts.ReadFile(path) {
			err = fmt.Errorf("%s is out of date: run `make docs`", name)
		}
		return err
	}))
}

// append FILE LINE adds a line to a file, which it makes where there is none.
func cmdAppend(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: append FILE LINE")
	}
	file, err := os.OpenFile(ts.MkAbs(args[0]), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	_, err = file.WriteString(args[1] + "\n")
	ts.Check(errors.Join(err, file.Close()))
}
