package main

import (
	"fmt"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"patrol/cmd/internal/config"
	"patrol/cmd/internal/pipeline"
	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/exceptions"
	"patrol/engine/notice"
	"patrol/engine/policy"
	"patrol/policies"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// pages are the pages of docs by name, README.md and SECURITY.md included.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	must(t, err)
	texts := map[string]string{"README.md": read(t, "README.md"), "SECURITY.md": read(t, "SECURITY.md")}
	for _, file := range files {
		name := "docs/" + filepath.Base(file)
		texts[name] = read(t, name)
	}
	return texts
}

// TestConfigurationOnPagesIsRead: each block of YAML on a page is a patrol.yaml
// or a waivers.yaml that patrol takes.
func TestConfigurationOnPagesIsRead(t *testing.T) {
	t.Parallel()
	a := newApp(systemEnv())
	flags := knownFlags(a.root())
	set, err := a.loadPolicies(t.Context(), &pipeline.Judging{})
	must(t, err)
	blocks, block := 0, regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for name, text := range pages(t) {
		for _, found := range block.FindAllStringSubmatch(text, -1) {
			blocks++
			if strings.Contains(found[1], "\nwaivers:\n") || strings.HasPrefix(found[1], "waivers:\n") {
				_, err = exceptions.ParseWaivers(name, []byte(found[1]), set.Every())
			} else {
				_, err = config.Parse(name, []byte(found[1]), flags)
			}
			if err != nil {
				t.Errorf("%s: %v in\n%s", name, err, found[1])
			}
		}
	}
	if blocks < 10 {
		t.Errorf("found %d blocks only", blocks)
	}
}

// TestPagesNameEveryKey: each key of patrol.yaml stands on a page, in code.
func TestPagesNameEveryKey(t *testing.T) {
	t.Parallel()
	code, word := regexp.MustCompile("(?s)```.*?```|`[^`\n]*`"), regexp.MustCompile(`[a-z_][a-z0-9_-]*`)
	named := map[string]bool{}
	for _, text := range pages(t) {
		for _, part := range code.FindAllString(text, -1) {
			for _, name := range word.FindAllString(part, -1) {
				named[name] = true
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keysOf(reflect.TypeFor[config.File](), map[string]bool{}))) {
		if !named[key] {
			t.Errorf("no page names the key %s of patrol.yaml", key)
		}
	}
}

// keysOf are the names that a struct has in YAML, at any depth.
func keysOf(in reflect.Type, keys map[string]bool) map[string]bool {
	switch in.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keysOf(in.Elem(), keys)
	case reflect.Struct:
		for i := range in.NumField() {
			field := in.Field(i)
			if name, _, _ := strings.Cut(field.Tag.Get("yaml"), ","); name != "" && name != "-" {
				keys[name] = true
				keysOf(field.Type, keys)
			}
		}
	}
	return keys
}

// TestRemediationNamesEveryState holds the table of states in docs/remediation.md
// to the states that there are and to the exit code that they lead to.
func TestRemediationNamesEveryState(t *testing.T) {
	t.Parallel()
	exits, row := map[engine.StepState]string{}, regexp.MustCompile("(?m)^\\| ((?:`[a-z_]+`(?:, )?)+) \\| ([0-9, ]+) \\|")
	for _, found := range row.FindAllStringSubmatch(read(t, "docs/remediation.md"), -1) {
		for _, name := range strings.Split(found[1], ", ") {
			exits[engine.StepState(strings.Trim(name, "`"))] = found[2]
		}
	}
	for _, state := range []engine.StepState{
		engine.StatePending, engine.StateIntent, engine.StateAcked, engine.StateUnresolved, engine.StateDone, engine.StateGoneBefore, engine.StateGoneAfterIntent,
		engine.StateSkippedDrift, engine.StateSkippedProtected, engine.StateSkippedApproval, engine.StateRefused, engine.StateFailed, engine.StateForPeople,
	} {
		exit, there := exits[state]
		if delete(exits, state); !there {
			t.Errorf("docs/remediation.md does not name the state %s", state)
		} else if state != engine.StateSkippedApproval && (exit == "0") != state.CarriedOut() {
			t.Errorf("docs/remediation.md says that %s is exit code %s", state, exit)
		}
	}
	for state := range exits {
		t.Errorf("docs/remediation.md names the state %s, which there is not", state)
	}
}

// TestRemediationNamesWhatATemplateSees: docs/remediation.md lists what a template
// of notices can use, and its error says so.
func TestRemediationNamesWhatATemplateSees(t *testing.T) {
	t.Parallel()
	text := read(t, "docs/remediation.md")
	for _, of := range []reflect.Type{reflect.TypeFor[notice.Data](), reflect.TypeFor[notice.Token](), reflect.TypeFor[notice.Reason]()} {
		for i := range of.NumField() {
			if name := "`." + of.Field(i).Name + "`"; !strings.Contains(text, name) {
				t.Errorf("docs/remediation.md does not name %s", name)
			}
		}
	}
}

// TestPagesLink: what a page of docs links to is there, heading and all.
func TestPagesLink(t *testing.T) {
	t.Parallel()
	link, code := regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`), regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	heading, noise := regexp.MustCompile(`(?m)^#+ (.*)$`), regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	pages, err := filepath.Glob("../../docs/*.md")
	must(t, err)
	for _, page := range append(pages, "../../README.md", "../../SECURITY.md") {
		text, err := os.ReadFile(page)
		must(t, err)
		for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			target := page
			if found[1] != "" {
				target = filepath.Join(filepath.Dir(page), found[1])
			}
			if strings.Contains(found[1], ":") {
				continue
			}
			content, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); statErr != nil || err != nil && !info.IsDir() {
				t.Errorf("%s links to %s, which is not there", page, found[1])
				continue
			}
			there := found[2] == ""
			for _, h := range heading.FindAllStringSubmatch(string(content), -1) {
				there = there || "#"+strings.ReplaceAll(noise.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == found[2]
			}
			if !there {
				t.Errorf("%s links to %s%s, a heading that is not there", page, found[1], found[2])
			}
		}
	}
}

// TestSimulatorPageIsTaken: docs/simulator.md names every key of faults and of
// changes, and what it shows is taken by the simulator.
func TestSimulatorPageIsTaken(t *testing.T) {
	t.Parallel()
	text := read(t, "docs/simulator.md")
	for _, of := range []reflect.Type{reflect.TypeFor[simulator.Fault](), reflect.TypeFor[simulator.Change]()} {
		for i := range of.NumField() {
			if name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ","); name != "" && name != "-" && !strings.Contains(text, "`"+name+"`") {
				t.Errorf("docs/simulator.md does not name %s of %s", name, of)
			}
		}
	}
	account, blocks := simulator.New(simulator.Options{Seed: 1, Tokens: 40}), 0
	for _, found := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(text, -1) {
		blocks++
		path := "/_sim/state"
		if strings.HasPrefix(found[1], "[") {
			path = "/_sim/faults"
		}
		request := httptest.NewRequestWithContext(t.Context(), "POST", path, strings.NewReader(found[1]))
		request.RemoteAddr = "127.0.0.1:1"
		answer := httptest.NewRecorder()
		if account.ServeHTTP(answer, request); answer.Code != 200 {
			t.Errorf("%s: %d %s for\n%s", path, answer.Code, answer.Body, found[1])
		}
	}
	if blocks < 2 {
		t.Errorf("found %d blocks", blocks)
	}
}

// TestArchitectureNamesEveryPackage holds docs/architecture.md to the packages
// that there are.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	t.Parallel()
	text, packages := read(t, "docs/architecture.md"), map[string]bool{}
	must(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".git")) {
			return filepath.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".go") {
			name, _ := filepath.Rel("../..", filepath.Dir(path))
			packages[filepath.ToSlash(name)] = true
		}
		return err
	}))
	for name := range packages {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/architecture.md does not name %s", name)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|").FindAllStringSubmatch(text, -1) {
		for _, name := range strings.Split(row[1], ", ") {
			if !packages[strings.Trim(name, "`")] {
				t.Errorf("docs/architecture.md names %s, where there is no Go", name)
			}
		}
	}
}

// TestPagesNameWhatThereIs: each command and flag of patrol, and each target of
// make, that a page names in code exists.
func TestPagesNameWhatThereIs(t *testing.T) {
	t.Parallel()
	root, flags := newApp(systemEnv()).root(), map[string]bool{"help": true, "version": true}
	everyCommand(root, func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(flag *pflag.Flag) { flags[flag.Name] = true })
		cmd.PersistentFlags().VisitAll(func(flag *pflag.Flag) { flags[flag.Name] = true })
	})
	for _, foreign := range []string{"rm", "user", "bundle", "certificate-oidc-issuer", "certificate-identity", "ignore-missing"} { // of docker, cosign, sha256sum
		flags[foreign] = true
	}
	code := regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	flag, command, target := regexp.MustCompile(`(?:^|[\s\x60'"|])--([a-z][a-z0-9-]+)`), regexp.MustCompile(`(?m)^[\x60\s]*patrol ([a-z][a-z -]*[a-z])`), regexp.MustCompile(`(?m)^[\x60]*make ([a-z]+)`)
	makefile := read(t, "Makefile")
	for name, text := range pages(t) {
		for _, part := range code.FindAllString(text, -1) {
			for _, found := range flag.FindAllStringSubmatch(part, -1) {
				if !flags[found[1]] {
					t.Errorf("%s names --%s, which no command has", name, found[1])
				}
			}
			for _, found := range command.FindAllStringSubmatch(part, -1) {
				cmd, rest, err := root.Find(strings.Fields(found[1]))
				if err != nil || cmd == root || len(rest) > 0 && rest[0][0] != '-' && cmd.HasAvailableSubCommands() && cmd.Name() != "help" && cmd.Name() != "completion" {
					t.Errorf("%s names the command patrol %s, which there is not: %v", name, found[1], err)
				}
			}
			for _, found := range target.FindAllStringSubmatch(part, -1) {
				if !strings.Contains(makefile, "\n"+found[1]+":") {
					t.Errorf("%s names make %s, which there is not", name, found[1])
				}
			}
		}
	}
}

// TestReleasesAreCheckedAsSecuritySays: SECURITY.md names the files of a release
// and of its signature as they are made.
func TestReleasesAreCheckedAsSecuritySays(t *testing.T) {
	t.Parallel()
	release, page := read(t, ".goreleaser.yaml"), read(t, "SECURITY.md")
	for made, said := range map[string]string{
		`name_template: "{{ .ProjectName }}_{{ .Version }}_checksums.txt"`: "patrol_1.2.3_checksums.txt",
		`signature: "${artifact}.sigstore.json"`:                           "--bundle patrol_1.2.3_checksums.txt.sigstore.json",
		`args: [sign-blob, "--bundle=${signature}", --yes, "${artifact}"]`: "cosign verify-blob --bundle",
	} {
		if !strings.Contains(release, made) || !strings.Contains(page, said) {
			t.Errorf(".goreleaser.yaml has %t: %s\nSECURITY.md has %t: %s", strings.Contains(release, made), made, strings.Contains(page, said), said)
		}
	}
}

// page says how the commands of a page are run. In its maps a command is named by
// how it begins; the longest name counts.
type page struct {
	config  string            // patrol.yaml, where the page speaks of one
	before  string            // lines of a story: what is there before the first command
	instead map[string]string // text in commands → what it is here: the id of a finding
	first   map[string]string // command → lines of a story right before it
	exits   map[string]int    // command → its exit code, where it is not that of usualExits
	skip    map[string]string // command → why it cannot be run here
	after   string            // lines of a story: what is there then
}

const (
	audited    = "env PATROL_PROFILE=prod\nexits 1 patrol audit -q\n"
	configured = "workspaces:\n  - {name: prod-analytics, profile: prod, labels: {env: prod}}\n  - {name: sandbox, profile: dev, labels: {env: dev}}\n"
	unsigned   = "needs a release and the signature of its workflow"
	minutes    = "takes minutes: a measurement, no story"
	written    = `exec sh -c 'sed "s/TODO: //; s/TODO//" my-policies/token/too_old.rego >written; cp written my-policies/token/too_old.rego'`
	aStep      = `$(sed -n 's/.*"id": "\(s[0-9a-f]*\)".*/\1/p' plan.json | head -1)`
	aFinding   = `$(patrol findings --severity high --format json | tr ',' '\n' | sed -n 's/.*"fingerprint": *"\([0-9a-f]*\)".*/\1/p' | head -1)`
)

// usualExits are those of the simulated account, which has findings.
var usualExits = map[string]int{"patrol audit": 1, "patrol evaluate ": 1, "patrol report": 1}

var pageRuns = map[string]page{
	"README.md": {
		before:  "exits 1 patrol audit -q --profile prod --db first.db\nexits 0 patrol tokens --db first.db --format json -o tokens.json\n",
		instead: map[string]string{"warehouse:ID": "warehouse:00c0ffee00c0ffee", "patrol apply plan.json": "patrol apply plan.json --yes"},
		skip:    map[string]string{"make": "builds patrol first; the story demo runs it", "docker": "needs docker"},
		after:   "exists patrol.yaml patrol-report/audit.html auditors.xlsx plan.json plan.approval.json plan.outcome.json\n",
	},
	"SECURITY.md": {skip: map[string]string{"cosign": unsigned, "sha256sum": unsigned, "make reproducible": minutes}},
	"docs/account.md": {
		before:  "exits 1 patrol audit -q --account account\nexits 0 patrol tokens --format csv -o tokens.csv\n",
		instead: map[string]string{"prod-account": "account"},
		first:   map[string]string{"patrol snapshots merge": "exec sh -c 'for i in 1 2 3 4 5 6 7; do patrol collect --account account --shard $i/8 --db shard-1.db; done'"},
	},
	"docs/ci.md": {before: "env PATROL_PROFILE=prod\n", skip: map[string]string{"docker": "needs docker"}},
	"docs/commands.md": { // each is an example of its own: what it needs is made before
		before: "exits 1 patrol audit -q\nexec patrol policies new token/too_old --id ACME-001 --policy my-policies\n" +
			"exec patrol plan -q --workspace prod-analytics --only WS-001 -o first.json\nexec patrol approve -q first.json --all\nexits 0 patrol apply -q first.json --yes\n" +
			"exits 1 patrol audit -q\nexec patrol plan -q --within-limits --workspace prod-analytics --format xlsx --notices notices\nexec patrol approve -q plan.json --all\n" +
			"exec sh -c 'mkdir answers; cp notices/*.xlsx answers'\ndecide plan.xlsx 2 approve\n" +
			"exec patrol collect -q --account account --db shard-0.db --shard 0/2\nexec patrol collect -q --account account --db shard-1.db --shard 1/2\n",
		config:  configured + "notices: {smtp: {server: \"mail.example.com:587\", from: patrol@example.com}}\n",
		instead: map[string]string{"/data/patrol": "data", "patrol init": "patrol init --profile prod first.yaml", "127.0.0.1:8080": "127.0.0.1:0", "sim.cfg": "other.cfg", "4fd6b0c1e2a39587aa12cd34ef567890": aFinding},
		first:   map[string]string{"patrol policies new": "rm my-policies", "patrol policies lint": written},
	},
	"docs/configuration.md": {after: "exists patrol.yaml patrol.schema.json\n"},
	"docs/first-week.md": {
		config:  configured,
		instead: map[string]string{"patrol apply plan.json": "patrol apply plan.json --yes"},
		exits:   map[string]int{"patrol audit --profile prod --fail-on none": 0},
		skip:    map[string]string{"make demo": "builds patrol first; the story demo runs it"},
	},
	"docs/history.md": {
		before: "[!exec:ssh-keygen] skip\n" + audited + "mkdir kept .ssh\nexec ssh-keygen -q -t ed25519 -N '' -C test -f .ssh/audit_key\n" +
			"exec sh -c '(printf \"ana@example.com \"; cat .ssh/audit_key.pub) >allowed_signers'\n",
		instead: map[string]string{"/kept/": "kept/"},
		after:   "exits 0 patrol verify --db patrol-2026-11-24.db\n",
	},
	"docs/imports.md": {
		before:  "exits 1 patrol audit -q --profile prod\nexits 0 patrol tokens --format csv -o tokens.csv\nsim GET /api/2.0/token-management/tokens\ncp stdout list.json\n",
		instead: map[string]string{"databricks token-management list -o json": "cat list.json"},
		exits:   map[string]int{"databricks": 4, "patrol audit": 4},
	},
	"docs/migrate.md":         {before: "put id=77 owner=etl-nightly@example.com\n" + audited},
	"docs/performance.md":     {skip: map[string]string{"make bench": minutes}},
	"docs/policy-contract.md": {first: map[string]string{"patrol policies lint": written}},
	"docs/remediation.md": {
		before:  "[!exec:ssh-keygen] skip\n",
		config:  configured,
		instead: map[string]string{"s3fa9c01b22de": aStep, " KEY ": " key "},
		first: map[string]string{
			"patrol approve plan.json --from":     "decide plan.xlsx 2 approve",
			"patrol approve plan.json --all --by": "exec ssh-keygen -q -t ed25519 -N '' -C test -f key\nrm plan.approval.json\nappend patrol.yaml 'approval: {allowed_signers: allowed_signers}'\nexec sh -c '(printf \"bob@example.com \"; cat key.pub) >allowed_signers'",
		},
	},
	"docs/reports.md": {},
	"docs/simulator.md": {
		instead: map[string]string{"127.0.0.1:8080": "127.0.0.1:0", "sim.cfg": "other.cfg"},
		exits:   map[string]int{"DATABRICKS_CONFIG_FILE": 1},
		first:   map[string]string{"DATABRICKS_CONFIG_FILE": "exec sh -c 'until test -s other.cfg; do sleep 0.1; done'"},
	},
	"docs/usage.md": {
		before: "exec sh -c 'now=$(date -u +%FT%TZ); printf \"workspace_id,token_id,events,first_event,last_event,max_ips_per_day,user_agents\\n$WS1,*,9,2026-10-01T00:00:00Z,$now,1,[]\\n\" >tokens.csv; " +
			"printf \"event_time,workspace_id,event_id,action_name,actor,status_code,request_params\\n2026-10-01T00:00:00Z,$WS1,,firstEvent,,,\\n$now,$WS1,,lastEvent,,,\\n\" >changes.csv'\n",
		instead: map[string]string{"1234567890abcdef": "00c0ffee00c0ffee"},
		exits:   map[string]int{"patrol audit --profile prod --audit-log": 4}, // the log lacks the tokens
		after:   "coverage patrol-report/audit.json prod audit_log=complete audit_changes=complete\n",
	},
	"docs/waivers.md":    {before: audited, instead: map[string]string{"4fd6b0c1e2a39587": aFinding}},
	"policies/README.md": {skip: map[string]string{"opa": "make test and make lint run it, from a cache that no story has"}},
}

// TestPagesRun runs the commands of each page in its order, in a folder of its
// own, against the simulated account. A command that is not run has a reason.
func TestPagesRun(t *testing.T) {
	if testing.Short() {
		t.Skip("one command after the other: nothing for the race detector")
	}
	t.Parallel()
	dir, texts := t.TempDir(), pages(t)
	texts["policies/README.md"] = read(t, "policies/README.md")
	var stories []string
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		commands := pageCommands(texts[name])
		if len(commands) == 0 {
			continue
		}
		if _, known := pageRuns[name]; !known {
			t.Errorf("%s has commands and no row in pageRuns", name)
		}
		file := filepath.Join(dir, strings.ReplaceAll(strings.TrimSuffix(name, ".md"), "/", "-")+".txtar")
		must(t, os.WriteFile(file, []byte(pageStory(t, name, pageRuns[name], commands)), 0o600))
		stories = append(stories, file)
	}
	for name := range pageRuns {
		if len(pageCommands(texts[name])) == 0 {
			t.Errorf("%s has no commands: take it out of pageRuns", name)
		}
	}
	runStories(t, stories)
}

// pageCommands are the lines of a page's blocks of shell, and those after a
// prompt in any block, without comments.
func pageCommands(text string) []string {
	var commands []string
	comment := regexp.MustCompile(`(^|\s+)# .*$`)
	for i, block := range strings.Split(text, "```") {
		kind, lines, _ := strings.Cut(strings.ReplaceAll(block, "\\\n", " "), "\n")
		for line := range strings.SplitSeq(lines, "\n") {
			line, prompt := strings.CutPrefix(line, "$ ")
			line = comment.ReplaceAllString(line, "")
			if i%2 == 1 && line != "" && (prompt || kind == "sh" || kind == "bash") {
				commands = append(commands, line)
			}
		}
	}
	return commands
}

// pageStory writes the story of a page: each command is a script of one line.
func pageStory(t *testing.T, name string, run page, commands []string) string {
	t.Helper()
	lines := "account workspaces=2 tokens=40 clock=now\nput id=3922b2f6\nprofile prod $SIM $TOKEN1\nprofile dev $SIM $TOKEN2\n" + run.before
	files := ""
	if run.config != "" {
		files = "-- patrol.yaml --\n" + run.config
	}
	used := map[string]bool{}
	for i, command := range commands {
		if key := longestStart(run.skip, command); key != "" {
			used[key] = true
			continue
		}
		if key := longestStart(run.first, command); key != "" {
			used[key] = true
			lines += run.first[key] + "\n"
		}
		exit := usualExits[longestStart(usualExits, command)]
		if key := longestStart(run.exits, command); key != "" {
			used[key] = true
			exit = run.exits[key]
		}
		for _, text := range slices.Sorted(maps.Keys(run.instead)) {
			used[text] = used[text] || strings.Contains(command, text)
			command = strings.ReplaceAll(command, text, run.instead[text])
		}
		start := fmt.Sprintf("exits %d sh %d.sh\n", exit, i+1)
		if served, behind := strings.CutSuffix(command, " &"); behind { // the story's end ends it
			command, start = "exec "+served, fmt.Sprintf("exec sh %d.sh &\n", i+1)
		}
		lines += "\n# " + command + "\n" + start
		files += fmt.Sprintf("-- %d.sh --\n%s\n", i+1, command)
	}
	for _, key := range slices.Concat(slices.Collect(maps.Keys(run.skip)), slices.Collect(maps.Keys(run.first)), slices.Collect(maps.Keys(run.exits)), slices.Collect(maps.Keys(run.instead))) {
		if !used[key] {
			t.Errorf("%s: no command has %q: take it out of pageRuns", name, key)
		}
	}
	return lines + run.after + files
}

// longestStart is the longest key that a command begins with.
func longestStart[V any](of map[string]V, command string) string {
	longest := ""
	for key := range of {
		if strings.HasPrefix(command, key) && len(key) > len(longest) {
			longest = key
		}
	}
	return longest
}

// A pack must be signed wherever it is read: a command that loads packs and did
// not know the key would take one that others refuse.
func TestPacksAreVerifiedEverywhere(t *testing.T) {
	t.Parallel()
	a := newApp(systemEnv())
	loads := 0
	everyCommand(a.root(), func(cmd *cobra.Command) {
		packs := cmd.Flags().Lookup("policy")
		if packs == nil || packs.Value.Type() != "stringArray" { // `policies new` writes one
			return
		}
		loads++
		if cmd.Flags().Lookup("policy-key") == nil {
			t.Errorf("%s loads packs without --policy-key", cmd.CommandPath())
		}
	})
	if loads < 10 {
		t.Errorf("only %d commands load packs", loads)
	}
}

// TestEveryControlIsExplained: an auditor reads what a control asks for in our
// words.
func TestEveryControlIsExplained(t *testing.T) {
	t.Parallel()
	set, err := eval.Load(t.Context(), policy.Pack{Name: policy.BuiltIn, FS: policies.FS})
	must(t, err)
	for _, p := range set.Policies() {
		for framework, controls := range p.Controls {
			if engine.FrameworkTitle(framework) == framework {
				t.Errorf("%s: framework %s has no title", p.ID, framework)
			}
			for _, control := range controls {
				if engine.Requirement(framework, control) == "" {
					t.Errorf("%s: %s %s has no text in our words", p.ID, framework, control)
				}
			}
		}
	}
}
