package eval

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/policy"
	"patrol/policies"
)

const (
	serveFlag = "__sandbox"
	lieFlag   = "__lie"
)

// TestMain is the sandbox too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveFlag {
		if err := ServeSandbox(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 2 && os.Args[1] == lieFlag {
		lie(os.Args[2])
	}
	os.Exit(m.Run())
}

// lie is a sandbox that answers without judging.
func lie(said string) {
	var done result
	if err := json.Unmarshal([]byte(said), &done); err != nil {
		os.Exit(1)
	}
	for _, value := range []any{map[string]any{"Doing": done.Policy}, map[string]any{"Value": done}, map[string]any{"Done": true}} {
		_ = json.NewEncoder(os.Stdout).Encode(value)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func ownSandbox() *exec.Cmd {
	return &exec.Cmd{Path: os.Args[0], Args: []string{os.Args[0], serveFlag}}
}

// bombDeadline is that of one evaluation; bombLimit what a job with one bomb
// may take beyond it: on an idle machine most of it is to spare, and what nobody
// stops takes minutes.
const (
	bombDeadline = 400 * time.Millisecond
	bombLimit    = 20 * time.Second
)

// growing is Rego that makes s of 10^n times input.token.id by a term of s.
func growing(n int, term string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "s0 := input.token.id\n")
	for i := range n {
		fmt.Fprintf(&b, "\ts%d := %s\n", i+1, strings.ReplaceAll(term, "@", fmt.Sprint("s", i)))
	}
	fmt.Fprintf(&b, "\ts := s%d", n)
	return b.String()
}

const tenTimes = `concat("", [@, @, @, @, @, @, @, @, @, @])`

func denying(body string) string {
	return "deny contains message if {\n\t" + body + "\n\tmessage := \"fired\"\n}"
}

// bombs are bodies of policies that take all time or memory there is.
func bombs() map[string]string {
	long := growing(5, tenTimes) // 6.4 MB
	return map[string]string{
		"doubling by concat":       denying(growing(9, tenTimes) + "\n\tcount(s) > 0"),
		"doubling by replace":      denying(growing(9, `replace(@, "a", "aaaaaaaaaa")`) + "\n\tcount(s) > 0"),
		"doubling by sprintf":      denying(growing(9, `sprintf("%s%s%s%s%s%s%s%s%s%s", [@, @, @, @, @, @, @, @, @, @])`) + "\n\tcount(s) > 0"),
		"doubling by join of list": denying(growing(9, `concat(@, ["", "", "", "", "", "", "", "", "", "", ""])`) + "\n\tcount(s) > 0"),
		"doubling by encoding":     denying(growing(40, `urlquery.encode(base64.encode(hex.encode(@)))`) + "\n\tcount(s) > 0"),
		"doubling by template":     denying(growing(9, "$\"{@}{@}{@}{@}{@}{@}{@}{@}{@}{@}\"") + "\n\tcount(s) > 0"),
		"doubling lists":           denying(strings.Replace(growing(30, `array.concat(@, @)`), "s0 := input.token.id", "s0 := [input.token.id]", 1) + "\n\tcount(s) > 0"),
		"doubling objects":         denying(`some i in numbers.range(1, 100000000)` + "\n\t" + `o := {sprintf("%d", [j]): i | some j in numbers.range(1, i)}` + "\n\tcount(o) < 0\n\tinput.token.id"),
		"growing set":              denying(`s := {[i, j, k] | some i in numbers.range(1, 2000); some j in numbers.range(1, 2000); some k in numbers.range(1, 2000)}` + "\n\tcount(s) > 0\n\tinput.token.id"),
		"nested comprehension":     denying(`c := count([1 | some i in numbers.range(1, 5000); some j in numbers.range(1, 5000); some k in numbers.range(1, 5000); i + j + k < 0])` + "\n\tc > 0\n\tinput.token.id"),
		"range":                    denying("count(numbers.range(1, 1000000000)) > 0\n\tinput.token.id"),
		"sorted range":             denying("count(sort(numbers.range(1, 300000000))) > 0\n\tinput.token.id"),
		"sum of range":             denying("sum(numbers.range(1, 900000000)) > 0\n\tinput.token.id"),
		"product of range":         denying("product(numbers.range(1, 3000000)) > 0\n\tinput.token.id"),
		"walk product":             denying("c := count([1 | walk(input.token, [p, _]); walk(input.token, [q, _]); walk(input.token, [r, _]); walk(input.token, [t, _]); walk(input.token, [u, _]); count(p) + count(q) + count(r) + count(t) + count(u) < 0])" + "\n\tc > 0"),
		"wide sprintf":             denying(`count([x | some i in numbers.range(1, 100000); x := sprintf("%1000000d", [i + input.token.age_days])]) > 0`),
		"precise sprintf":          denying(`count({x | some i in numbers.range(1, 100000); x := sprintf("%.1000000f", [i + input.token.age_days])}) > 0`),
		"regex over long text":     denying(growing(6, tenTimes) + "\n\t" + `regex.match("(a|aa|aaa)*(a|b|aaaa){400}(x|y)z$", s)`),
		"all matches of regex":     denying(long + "\n\t" + `count(regex.find_all_string_submatch_n("(((a)))", s, -1)) > 0`),
		"split of long text":       denying(growing(7, tenTimes) + "\n\t" + `count(split(s, "")) > 0`),
		"replacements":             denying(growing(5, `strings.replace_n({"a": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, @)`) + "\n\tcount(s) > 0"),
		"digest of long text":      denying(growing(8, tenTimes) + "\n\t" + `crypto.sha256(s) == "0"`),
		"json of long text":        denying(growing(8, tenTimes) + "\n\t" + `count(json.marshal([s, s, s])) > 0`),
		"places in long text":      denying(growing(7, tenTimes) + "\n\t" + `count(indexof_n(s, "a")) > 0`),
		"reachable":                denying("g := {i: numbers.range(1, 4000) | some i in numbers.range(1, 4000)}\n\tcount(graph.reachable(g, {1})) < 0\n\tinput.token.id"),
		"ranges of addresses":      denying(`c := net.cidr_merge([sprintf("10.%d.%d.%d/32", [i, j, k]) | some i in numbers.range(0, 255); some j in numbers.range(0, 255); some k in numbers.range(0, 255)])` + "\n\tcount(c) > 0\n\tinput.token.id"),
		"number of many digits":    denying(`to_number(concat("", ["1e", "1000000000"])) > input.token.age_days`),
		"long message":             "deny contains message if {\n\t" + growing(4, tenTimes) + "\n\tmessage := s\n}",
		"long evidence":            "deny contains message if {\n\t" + growing(4, tenTimes) + "\n\tmessage := {\"msg\": \"x\", \"detail\": s}\n}",
		"many messages":            "deny contains message if {\n\tinput.token.id\n\tsome i in numbers.range(1, 300000)\n\tmessage := sprintf(\"%d\", [i])\n}",
	}
}

// refusedBombs are calls that no policy can make.
func refusedBombs() []string {
	return []string{
		"bits.lsh(1, 10000000000) > 0", "bits.rsh(1, 10000000000) > 0", `graph.reachable_paths({"a": ["b"]}, {"a"}) == set()`,
		`strings.render_template("{{.}}", {}) == ""`, "count(numbers.range_step(1, 10, 2)) > 0", `count(net.cidr_expand("0.0.0.0/0")) > 0`,
		`regex.globs_match("a.a.[0-9]+z", "a.b.c")`, `regex.template_match("{.*}", "a", "{", "}")`,
		`json.patch({}, [{"op": "add", "path": "a", "value": 1}]) == {}`,
		`http.send({"method": "get", "url": "http://example.com"}).status_code == 200`, `net.lookup_ip_addr("example.com") == set()`,
		"opa.runtime().env.HOME", "time.now_ns() > 0", `rand.intn("x", 2) > 0`, `yaml.unmarshal("a: &a [*a]") == {}`,
	}
}

func TestBombsThatPoliciesCannotName(t *testing.T) {
	t.Parallel()
	for _, call := range refusedBombs() {
		problemsOf(t, enginetest.TokenPolicy("", denying("input.token.id\n\t"+call)))
	}
}

const innocent = "deny contains \"seen\" if input.token.id"

// TestBombs: each is an error in time, the other policy goes on, and this
// process does not grow.
func TestBombs(t *testing.T) {
	enginetest.NotInRace(t)
	if len(bombs()) < 30 {
		t.Fatalf("the corpus has %d bombs", len(bombs()))
	}
	before := residentBytes(t)
	for _, name := range engine.SortedKeys(bombs()) {
		t.Run(name, func(t *testing.T) {
			set := load(t, map[string]string{
				"token/bomb.rego": enginetest.PolicyText("token", "bomb", "B-1", "", bombs()[name]),
				"token/good.rego": enginetest.PolicyText("token", "good", "G-1", "", innocent),
			}).With(Options{Sandbox: ownSandbox, Deadline: bombDeadline})
			start := time.Now()
			findings, _ := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: rows(healthy(nil))})
			took := time.Since(start)
			if len(findings) != 2 || findings[0].Status != engine.Errored || findings[1].Status != engine.Fail {
				t.Fatalf("want an error and the other's finding, got %v", statusesOf(findings))
			}
			t.Logf("%v: %s", took.Round(time.Millisecond), findings[0].Message)
			if limit := bombDeadline + promised(); took > limit {
				t.Errorf("took %v, limit %v", took, limit)
			}
		})
	}
	if grown := residentBytes(t) - before; grown > 50<<20 {
		t.Errorf("this process grew by %d MiB", grown>>20)
	}
}

// promised is what a bomb may take beyond its deadline: 2 s on a machine that does
// nothing else, as whoever sets PATROLTEST_TORTURE_BOMBS says of theirs.
func promised() time.Duration {
	if os.Getenv("PATROLTEST_TORTURE_BOMBS") != "" {
		return 2 * time.Second
	}
	return bombLimit
}

func statusesOf(findings []engine.Finding) []string {
	var list []string
	for _, f := range findings {
		list = append(list, fmt.Sprintf("%s %s: %.200s", f.Policy, f.Status, f.Message))
	}
	return list
}

// residentBytes is the memory of this process; 0 where it cannot be told.
func residentBytes(t *testing.T) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Log("no /proc: memory is not compared")
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

// TestSandboxFindsTheSame: the built-in policies find the same in a sandbox as here.
func TestSandboxFindsTheSame(t *testing.T) {
	set, err := Load(t.Context(), policy.Pack{Name: "built-in", FS: policies.FS})
	if err != nil {
		t.Fatal(err)
	}
	job := Job{Snapshot: covered(nil), Tokens: either(manyTokens(300))}
	want, wantTallies := evaluate(t, set, job)
	got, gotTallies := evaluate(t, set.With(Options{Sandbox: ownSandbox}), job)
	enginetest.Equal(t, gotTallies, wantTallies)
	enginetest.Equal(t, asJSON(t, got), asJSON(t, want))
	if len(want) < 300 {
		t.Errorf("only %d findings were compared", len(want))
	}
}

// manyTokens are tokens of all sorts: some facts false, zero, unknown or absent.
func manyTokens(n int) iter.Seq2[engine.Subject, error] {
	return func(yield func(engine.Subject, error) bool) {
		for i := range n {
			s := healthy(func(token *engine.Token) {
				token.ID = fmt.Sprintf("%064x", i)
				token.Comment = []string{"", "ci", "\x00<script>", "dapi" + strings.Repeat("ab", 16)}[i%4]
				token.Created = ptr(*token.Created - int64(i)*engine.Day)
				switch i % 7 {
				case 1:
					token.Expires = ptr(engine.NeverExpires)
				case 2:
					token.LastUsed = nil
				case 3:
					token.Expires = nil
					token.Defects = []engine.Defect{{Field: "expiry_time", Reason: "missing"}}
				case 4:
					token.Expires = ptr(asOf().UnixMilli() - engine.Day)
				case 5:
					token.Scopes = nil
				}
			})
			switch i % 5 {
			case 1:
				s.Owner.Active = ptr(false)
			case 2:
				s.Owner.Active = nil
			case 3:
				s.Owner = engine.Party{ID: s.Owner.ID, Kind: engine.Missing, Active: ptr(false), Admin: ptr(false)}
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSandboxThatDiesMidway: what was found before stands, the rest is errors.
func TestSandboxThatDiesMidway(t *testing.T) {
	last := fmt.Sprintf("%064x", 202) // in the second batch
	set := load(t, map[string]string{
		"token/bomb.rego": enginetest.PolicyText("token", "bomb", "B-1", "", "deny contains \"young\" if input.token.age_days < 0\n\n"+
			denying("input.token.id == \""+last+"\"\n\t"+growing(9, tenTimes)+"\n\tcount(s) > 0")),
		"token/good.rego": enginetest.PolicyText("token", "good", "G-1", "", innocent),
	}).With(Options{Sandbox: ownSandbox, Deadline: bombDeadline})
	findings, tallies := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: either(manyTokens(300))})
	good, bomb := tallies["G-1"], tallies["B-1"]
	if good[engine.Fail] == 0 || good[engine.Errored] != 0 || good[engine.NotApplicable] != bomb[engine.NotApplicable] {
		t.Errorf("the other policy: %v, the bomb: %v", good, bomb)
	}
	if bomb[engine.Pass] == 0 || bomb[engine.Errored] == 0 || sumOf(bomb) != 300 || sumOf(good) != 300 {
		t.Errorf("the bomb: %v", bomb)
	}
	told := map[string]int{}
	for _, f := range findings {
		told[f.Policy+string(f.Status)+f.ResourceID]++
	}
	if n := bomb[engine.Errored] + bomb[engine.Fail] + bomb[engine.Unknown] + good[engine.Fail] + good[engine.Unknown]; len(told) != n || len(findings) != n {
		t.Errorf("%d findings of %d results, want %d", len(findings), len(told), n)
	}
}

// TestSandboxResultsAddUp: a sandbox that gives too few results, too many, or
// some that are none, makes no token pass.
func TestSandboxResultsAddUp(t *testing.T) {
	files := map[string]string{"token/good.rego": enginetest.PolicyText("token", "good", "G-1", "", innocent)}
	for name, said := range map[string]string{
		"too few":            `{"Policy":"G-1","Pass":2}`,
		"too many":           `{"Policy":"G-1","Pass":4}`,
		"fewer than none":    `{"Policy":"G-1","Pass":4,"NotApplicable":-1}`,
		"of nobody":          `{"Policy":"G-1","Pass":2,"Findings":[{"Index":3,"Status":"fail"}]}`,
		"before the first":   `{"Policy":"G-1","Pass":2,"Findings":[{"Index":-1,"Status":"fail"}]}`,
		"a pass as finding":  `{"Policy":"G-1","Pass":2,"Findings":[{"Index":0,"Status":"pass"}]}`,
		"one token twice":    `{"Policy":"G-1","Pass":1,"Findings":[{"Index":0,"Status":"fail"},{"Index":0,"Status":"fail"}]}`,
		"some other policy":  `{"Policy":"G-2","Pass":3}`,
		"a status of nobody": `{"Policy":"G-1","Pass":2,"Findings":[{"Index":0,"Status":""}]}`,
	} {
		lying := func() *exec.Cmd { return &exec.Cmd{Path: os.Args[0], Args: []string{os.Args[0], lieFlag, said}} }
		set := load(t, files).With(Options{Sandbox: lying, Deadline: bombDeadline})
		_, tallies := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: either(manyTokens(3))})
		if tally := tallies["G-1"]; tally[engine.Pass] != 0 || tally[engine.Errored]+tally[engine.NotApplicable] != 3 || sumOf(tally) != 3 {
			t.Errorf("%s: %v", name, tally)
		}
	}
}

func sumOf(t engine.Tally) int {
	sum := 0
	for _, n := range t {
		sum += n
	}
	return sum
}

// TestSandboxRunsOutOfMemory before its deadline: it dies, and nobody else.
func TestSandboxRunsOutOfMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("memory is bounded on Linux only")
	}
	set := load(t, map[string]string{
		"token/bomb.rego": enginetest.PolicyText("token", "bomb", "B-1", "", bombs()["doubling by concat"]),
		"token/good.rego": enginetest.PolicyText("token", "good", "G-1", "", innocent),
	}).With(Options{Sandbox: ownSandbox, Deadline: time.Minute})
	findings, _ := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: rows(healthy(nil))})
	want := "evaluation ran out of memory"
	if underRace {
		want = "evaluation ended the sandbox"
	}
	if len(findings) != 2 || !strings.HasPrefix(findings[0].Message, want) || findings[1].Status != engine.Fail {
		t.Errorf("got %v", statusesOf(findings))
	}
}

// TestTryLoad: a pack that loads, and a process that is no sandbox.
func TestTryLoad(t *testing.T) {
	packs := []policy.Pack{schemas(t), pack("mine", enginetest.TokenPolicy("", innocent))}
	if err := TryLoad(t.Context(), ownSandbox, packs...); err != nil {
		t.Error(err)
	}
	ended := func() *exec.Cmd { return &exec.Cmd{Path: "/bin/false", Args: []string{"false"}} }
	e, ok := engine.AsError(TryLoad(t.Context(), ended, packs...))
	if !ok || e.Class != engine.ClassUsage || e.Reason != "policy" {
		t.Errorf("want a usage error, got %v", e)
	}
}
