package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"patrol/collectors/simulator"
)

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
		exits:   map[string]int{"patrol evaluate": 0},
		skip:    map[string]string{"make": "builds patrol first; the story demo runs it", "docker": "needs docker"},
		after:   "exists patrol.yaml patrol-report/audit.html auditors.xlsx plan.json plan.approval.json plan.outcome.json\n",
	},
	"SECURITY.md": {skip: map[string]string{"cosign": unsigned, "sha256sum": unsigned, "make reproducible": minutes}},
	"docs/account.md": {
		before:  "exits 1 patrol audit -q --account account\nexits 0 patrol tokens --format csv -o tokens.csv\n",
		instead: map[string]string{"prod-account": "account"},
	},
	"docs/backup.md": {before: audited, after: "exits 0 patrol verify --db patrol-2026-11-24.db\n"},
	"docs/ci.md":     {before: "env PATROL_PROFILE=prod\n", skip: map[string]string{"docker": "needs docker"}},
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
	"docs/scale-out.md": {
		instead: map[string]string{"prod-account": "account"},
		first:   map[string]string{"patrol snapshots merge": "exec sh -c 'for i in 1 2 3 4 5 6 7; do patrol collect --account account --shard $i/8 --db shard-1.db; done'"},
	},
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
	runStories(t, stories, simulator.NotFoundResource)
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
