package main

import (
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
	"patrol/engine/exceptions"
	"patrol/engine/notice"

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
