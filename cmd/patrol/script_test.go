package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/enginetest"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	enginetest.SideBySide()
	testscript.Main(m, map[string]func(){"patrol": main, "patrol-panicking": mainPanicking})
}

// mainPanicking panics in a goroutine of its own at any moment, for the rigs.
func mainPanicking() {
	go func() {
		time.Sleep(time.Duration(30+rand.IntN(150)) * time.Millisecond)
		panic("torture: a fault of our own")
	}()
	main()
}

// said is what a run of patrol said, and how it ended.
type said struct {
	code           int
	stdout, stderr string
}

// runHere runs a command in this process, at a moment and without environment.
func runHere(at time.Time, args ...string) said {
	var out, talk bytes.Buffer
	code := run(context.Background(), &env{
		stdin: strings.NewReader(""), stdout: &out, stderr: &talk, now: func() time.Time { return at },
		lookup: func(string) (string, bool) { return "", false }, environ: func() []string { return nil }, version: "test", width: 120,
	}, args)
	return said{code, out.String(), talk.String()}
}

// TestScripts runs the stories in testdata/script through the real binary. Each
// reads like a session of a user; the commands beside patrol are below.
func TestScripts(t *testing.T) { runStories(t, storyFiles(t)) }

func runStories(t *testing.T, files []string) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Files:               files,
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"account":   cmdAccount,
			"profile":   cmdProfile,
			"sim":       cmdSim,
			"fault":     cmdFault,
			"met":       cmdMet,
			"put":       cmdPut,
			"sent":      cmdSent,
			"exits":     cmdExits,
			"signals":   cmdSignals,
			"json":      cmdJSON,
			"findings":  cmdFindings,
			"tally":     cmdTally,
			"coverage":  cmdCoverage,
			"alike":     cmdAlike,
			"lines":     cmdLines,
			"most":      cmdMost,
			"mode":      cmdMode,
			"holds":     cmdHolds,
			"harmless":  cmdHarmless,
			"overwrite": cmdOverwrite,
			"append":    cmdAppend,
			"overtake":  cmdOvertake,
			"decide":    cmdDecide,
			"digests":   cmdDigests,
			"answer":    cmdAnswer,

			"mailserver": cmdMailserver,
			"receiver":   cmdReceiver,
			"parquet":    cmdParquet,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			e.Setenv("GOGC", "800") // a short run has no need to collect; costs a fifth of a story's time
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("EVIL", "\x1b[31m\u202e=HYPERLINK(\"x\")\a")
			e.Setenv("REPO", root)
			e.Values[simKey{}] = &sim{}
			return nil
		},
	})
}

// sim is the simulated account of a script.
type sim struct {
	account *simulator.Account
	clock   time.Time
	put     int // tokens made by put
}

type simKey struct{}

func simOf(ts *testscript.TestScript) *sim { return ts.Value(simKey{}).(*sim) }

// account [KEY=VALUE…] serves a simulated account for the rest of the script
// and points DATABRICKS_CONFIG_FILE at its profiles. Keys: seed, workspaces,
// tokens, clock (default 2026-11-24T12:00:00Z; now), int64strings, maxpage,
// notfound (the code of a token that does not exist; half of the stories that apply
// have NOT_FOUND, the others RESOURCE_DOES_NOT_EXIST), tls.
func cmdAccount(ts *testscript.TestScript, neg bool, args []string) {
	o := simulateOptions{Options: simulator.Options{Seed: 1, Workspaces: 2, Tokens: 60}}
	tls := false
	o.clock = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "seed":
			o.Seed, err = strconv.ParseUint(value, 10, 64)
		case "workspaces":
			o.Workspaces, err = strconv.Atoi(value)
		case "tokens":
			o.Tokens, err = strconv.Atoi(value)
		case "clock":
			if o.clock = (time.Time{}); value != "now" { // now: it runs with the machine's, which bounds plans
				o.clock, err = parseInstant(value)
			}
		case "int64strings":
			o.Int64Strings = true
		case "maxpage":
			o.MaxPage, err = strconv.Atoi(value)
		case "notfound":
			o.NotFound = value
		case "tls": // the certificate is of no known authority: ca.pem is its own
			tls = true
		default:
			err = fmt.Errorf("account: unknown key %q", key)
		}
		ts.Check(err)
	}
	account, err := o.account(time.Now)
	ts.Check(err)
	server := httptest.NewUnstartedServer(account)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of those who do not trust it
	ts.Defer(server.Close)
	if tls {
		server.StartTLS()
		block := pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
		ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), pem.EncodeToMemory(&block), 0o600))
	} else {
		server.Start()
	}
	clock := o.clock
	if clock.IsZero() {
		clock = time.Now().UTC().Truncate(time.Second)
	}
	*simOf(ts) = sim{account: account, clock: clock}
	serveSim(ts, account, server.URL)
}

func serveSim(ts *testscript.TestScript, account *simulator.Account, url string) {
	ts.Check(os.WriteFile(ts.MkAbs("sim.cfg"), []byte(account.ConfigFile(url)), 0o600))
	ts.Setenv("DATABRICKS_CONFIG_FILE", ts.MkAbs("sim.cfg"))
	ts.Setenv("SIM", url)
	ts.Setenv("TENANT", account.Tenant())
	ts.Setenv("SUBSCRIPTION", account.Subscription())
	for i, w := range account.Workspaces() {
		ts.Setenv(fmt.Sprintf("WS%d", i+1), strconv.FormatInt(w.ID, 10))
		ts.Setenv(fmt.Sprintf("TOKEN%d", i+1), w.Token)
	}
}

// profile NAME HOST TOKEN adds a profile to those of the account.
func cmdProfile(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: profile NAME HOST TOKEN")
	}
	section := fmt.Sprintf("\n[%s]\nhost = %s\ntoken = %s\n", args[0], args[1], args[2])
	ts.Check(os.WriteFile(ts.MkAbs("sim.cfg"), []byte(ts.ReadFile("sim.cfg")+section), 0o600))
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

// fault JSON orders a fault, or a list of them; `fault clear` takes all back, and
// fault NAME [WORKSPACE] orders one of the simulator's contradictions.
func cmdFault(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case neg || len(args) == 0 || len(args) > 2:
		ts.Fatalf("usage: fault JSON | fault clear | fault NAME [WORKSPACE]")
	case args[0] == "clear":
		simOf(ts).account.ClearFaults()
	case !strings.HasPrefix(args[0], "{") && !strings.HasPrefix(args[0], "["):
		ts.Check(simOf(ts).account.Contradict(args[0], strings.Join(args[1:], "")))
	default:
		faults, err := simulator.ParseFaults([]byte(args[0]))
		ts.Check(err)
		for _, fault := range faults {
			simOf(ts).account.AddFault(fault)
		}
	}
}

// put KEY=VALUE… adds a healthy token, or changes the one of that id, and sets
// $ID_id to the whole of it and $OWNER_id to who owns it. Keys: id
// (a few hexadecimal digits, filled up with zeros), created and used (distance
// from the account's clock: -30d, -1d12h; created at the latest when used), lives (from creation: 90d, or
// never), comment, owner (name; made when new), creator, scopes, workspace.
func cmdPut(ts *testscript.TestScript, neg bool, args []string) {
	s := simOf(ts)
	s.put++
	values := map[string]string{
		"id": strconv.Itoa(s.put), "created": "-10d", "lives": "60d", "used": "-1d", "comment": "nightly export of sales",
		"owner": "alice@example.com", "creator": "", "workspace": "", "scopes": "",
	}
	given := map[string]bool{}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		if _, known := values[key]; !known || neg {
			ts.Fatalf("put: unknown key %q", key)
		}
		values[key], given[key] = value, true
	}
	if used := values["used"]; given["used"] && !given["created"] && used != "never" && distance(ts, used) < distance(ts, values["created"]) {
		values["created"] = used // nobody uses what is not there yet
	}
	token := simulator.Token{ID: values["id"] + strings.Repeat("0", 64-len(values["id"])), Comment: values["comment"]}
	token.CreationTime = s.moment(ts, values["created"])
	token.ExpiryTime = -1
	if values["lives"] != "never" {
		token.ExpiryTime = token.CreationTime + distance(ts, values["lives"]).Milliseconds()
	}
	if values["used"] != "never" { // a date that is not given does not contradict those that are
		used := s.moment(ts, values["used"])
		if !given["used"] && token.ExpiryTime > 0 {
			used = min(used, token.ExpiryTime)
		}
		if !given["used"] {
			used = max(used, token.CreationTime)
		}
		token.LastUsedDay = used / engine.Day * engine.Day
	}
	if values["scopes"] != "" {
		token.Scopes = strings.Split(values["scopes"], ",")
	}
	token.OwnerID = s.principal(ts, values["owner"])
	token.CreatedByID = s.principal(ts, cmp.Or(values["creator"], values["owner"]))
	ts.Setenv("ID_"+values["id"], token.ID)
	ts.Setenv("OWNER_"+values["id"], strconv.FormatInt(token.OwnerID, 10))
	_, err := s.account.PutToken(cmp.Or(values["workspace"], s.account.Workspaces()[0].Name), token)
	ts.Check(err)
}

func (s *sim) moment(ts *testscript.TestScript, text string) int64 {
	return s.clock.Add(distance(ts, text)).UnixMilli()
}

// distance reads a duration that may begin with days.
func distance(ts *testscript.TestScript, text string) time.Duration {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		days, rest = "0", text
	}
	n, err := strconv.Atoi(days)
	ts.Check(err)
	more, err := time.ParseDuration(cmp.Or(rest, "0s"))
	ts.Check(err)
	return time.Duration(n)*24*time.Hour + more
}

// principal finds a user by name, or makes one. A number is an id that nobody has.
func (s *sim) principal(ts *testscript.TestScript, name string) int64 {
	if id, err := strconv.ParseInt(name, 10, 64); err == nil {
		return id
	}
	for _, user := range s.account.Users() {
		if user.Name == name {
			return user.ID
		}
	}
	user, err := s.account.AddUser(simulator.User{Name: name, DisplayName: name, Active: true})
	ts.Check(err)
	return user.ID
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
		if !strings.HasPrefix(request.Path, "/oidc/") && !strings.HasSuffix(request.Path, "/oauth2/token") {
			count++
		}
	}
	if strconv.Itoa(count) != args[1] {
		ts.Fatalf("%d %s requests, want %s", count, args[0], args[1])
	}
}

// The race detector makes everything some five to ten times as slow, and sees
// nothing where one thing is done after the other. `make race` therefore runs
// what is concurrent: packages, and stories that are marked.

// TestRaceListIsWhole: every package that starts goroutines, or guards itself
// against those of others, is run by `make race`. The bench has no tests to run.
func TestRaceListIsWhole(t *testing.T) {
	t.Parallel()
	line := regexp.MustCompile(`(?m)^CONCURRENT := (.*)$`).FindStringSubmatch(read(t, "Makefile"))
	if line == nil {
		t.Fatal("the Makefile has no list")
	}
	listed := strings.Fields(line[1])
	found := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil || !concurrent(file) {
			return err
		}
		found++
		folder := "./" + strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../../")
		if folder != "./cmd/bench" && !slices.Contains(listed, folder) {
			t.Errorf("%s is concurrent, and `make race` does not run %s", path, folder)
		}
		return nil
	})
	if err != nil || found < 10 {
		t.Errorf("%d files looked concurrent: %v", found, err)
	}
}

// concurrent reports whether a file starts goroutines or minds those of others.
func concurrent(file *ast.File) (found bool) {
	for _, spec := range file.Imports {
		switch path, _ := strconv.Unquote(spec.Path.Value); path {
		case "sync", "sync/atomic", "golang.org/x/sync/errgroup", "golang.org/x/sync/singleflight":
			return true
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		_, starts := n.(*ast.GoStmt)
		found = found || starts
		return !found
	})
	return found
}

// concurrentMark is the line of a story that `make race` runs, and why.
const concurrentMark = "\n# concurrent: "

// storyFiles are the stories of this run: all, or with -short those that are
// marked.
func storyFiles(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join("..", "..", "testdata", "script", "*.txtar"))
	if err != nil || len(all) == 0 {
		t.Fatal(err)
	}
	if testing.Short() {
		all = storiesWith(t, all, concurrentMark)
	}
	return all
}

// storiesWith are those that hold what a pattern matches.
func storiesWith(t *testing.T, all []string, pattern string) []string {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(all), func(path string) bool {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return !regexp.MustCompile(pattern).Match(text)
	})
}

// TestConcurrentStories: the marked ones reach whatever a command does at once.
func TestConcurrentStories(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob(filepath.Join("..", "..", "testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	marked := storiesWith(t, all, concurrentMark)
	for _, path := range marked {
		story, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(story)
	}
	for what, words := range map[string]string{
		"workers over tokens":                  `patrol audit`,
		"workspaces side by side":              `--profile \S+ --profile`,
		"an account's workspaces side by side": `patrol audit --account`,
		"a sandbox and its parent":             `--policy`,
		"reads that are tried again":           `"status": (429|50\d)`,
		"apply":                                `patrol apply`,
		"two appliers of one journal":          `patrol apply .*&\n`,
		"serving":                              `patrol simulate|patrol demo`,
		"an interrupt":                         `signals`,
		"two processes on one database":        `patrol collect .*&\n`,
	} {
		if !regexp.MustCompile(words).MatchString(text.String()) {
			t.Errorf("no marked story has %s (%s)", what, words)
		}
	}
	if len(marked) > len(all)/4 {
		t.Errorf("%d of %d stories are marked: does each need the race detector?", len(marked), len(all))
	}
}
