package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"patrol/collectors/simulator"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"patrol": main})
}

// TestScripts runs the stories in testdata/script through the real binary. Each
// reads like a session of a user; the commands beside patrol are below.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", "script"),
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"account":  cmdAccount,
			"sim":      cmdSim,
			"exits":    cmdExits,
			"json":     cmdJSON,
			"findings": cmdFindings,
			"sent":     cmdSent,
			"mode":     cmdMode,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
	})
}

// account [KEY=VALUE…] serves a simulated account for the rest of the script
// and points DATABRICKS_CONFIG_FILE at its profiles. Keys: seed, workspaces,
// tokens, clock (default 2026-11-24T12:00:00Z), int64strings.
func cmdAccount(ts *testscript.TestScript, neg bool, args []string) {
	o := simulateOptions{seed: 1, workspaces: 2, tokens: 60}
	ts.Check(o.clock.Set("2026-11-24T12:00:00Z"))
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "seed":
			o.seed, err = strconv.ParseUint(value, 10, 64)
		case "workspaces":
			o.workspaces, err = strconv.Atoi(value)
		case "tokens":
			o.tokens, err = strconv.Atoi(value)
		case "clock":
			err = o.clock.Set(value)
		case "int64strings":
			o.int64Strings = true
		default:
			err = fmt.Errorf("account: unknown key %q", key)
		}
		ts.Check(err)
	}
	account, err := o.account(time.Now)
	ts.Check(err)
	server := httptest.NewServer(account)
	ts.Defer(server.Close)
	serveSim(ts, account, server.URL)
}

func serveSim(ts *testscript.TestScript, account *simulator.Account, url string) {
	ts.Check(os.WriteFile(ts.MkAbs("sim.cfg"), []byte(account.ConfigFile(url)), 0o600))
	ts.Setenv("DATABRICKS_CONFIG_FILE", ts.MkAbs("sim.cfg"))
	ts.Setenv("SIM", url)
	for i, w := range account.Workspaces() {
		ts.Setenv(fmt.Sprintf("WS%d", i+1), strconv.FormatInt(w.ID, 10))
		ts.Setenv(fmt.Sprintf("TOKEN%d", i+1), w.Token)
	}
}

// sim METHOD PATH [JSON|FILE] calls the account's control plane, or any of its
// endpoints; the answer becomes stdout of the next check by `stdout`.
func cmdSim(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: sim METHOD PATH [BODY|FILE]")
	}
	var body io.Reader
	if len(args) > 2 {
		text := args[2]
		if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
			text = ts.ReadFile(text)
		}
		body = strings.NewReader(text)
	}
	request, err := http.NewRequest(args[0], ts.Getenv("SIM")+args[1], body)
	ts.Check(err)
	request.Header.Set("Authorization", "Bearer "+ts.Getenv("TOKEN1"))
	response, err := http.DefaultClient.Do(request)
	ts.Check(err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n", answer)
	if (response.StatusCode >= 300) != neg {
		ts.Fatalf("sim %s %s: %s: %s", args[0], args[1], response.Status, answer)
	}
}

// exits CODE COMMAND… runs a command and wants that exit code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: exits CODE COMMAND [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// json FILE PATH VALUE wants a value at a dotted path of a JSON file; a number
// in the path is an index, and `#` the length.
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
	for _, key := range strings.Split(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			if key == "#" {
				return len(v)
			}
			value = v[key]
		case []any:
			if key == "#" {
				return len(v)
			}
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(v) {
				ts.Fatalf("no element %s in a list of %d", key, len(v))
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
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

// sent METHOD COUNT wants so many requests of a method in the account's record
// (sign-in aside); `! sent` is not defined.
func cmdSent(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: sent METHOD COUNT")
	}
	response, err := http.Get(ts.Getenv("SIM") + "/_sim/requests?method=" + args[0])
	ts.Check(err)
	defer response.Body.Close()
	var answer struct {
		Requests []struct{ Path string }
	}
	ts.Check(json.NewDecoder(response.Body).Decode(&answer))
	count := 0
	for _, request := range answer.Requests {
		if !strings.HasPrefix(request.Path, "/oidc/") {
			count++
		}
	}
	if strconv.Itoa(count) != args[1] {
		ts.Fatalf("%d %s requests, want %s", count, args[0], args[1])
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
