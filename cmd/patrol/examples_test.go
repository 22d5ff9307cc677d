package main

import (
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"patrol/reports"

	"github.com/rhysd/actionlint"
	"go.yaml.in/yaml/v3"
)

const examplesDir = "../../docs/examples"

// examples are the files of docs/examples by their path in it.
func examples(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(examplesDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(examplesDir, path)
		files[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return files
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExamplesAreYAML(t *testing.T) {
	t.Parallel()
	files := examples(t)
	files[".goreleaser.yaml"] = read(t, ".goreleaser.yaml")
	for name, text := range files {
		if ext := filepath.Ext(name); ext != ".yml" && ext != ".yaml" {
			continue
		}
		var document map[string]any
		if err := yaml.NewDecoder(strings.NewReader(text)).Decode(&document); err != nil || len(document) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWorkflows holds the workflows to what GitHub accepts: keys, expressions,
// contexts, permissions, schedules, inputs of well-known actions.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range examples(t) {
		if !strings.HasPrefix(name, "github-") {
			continue
		}
		problems, err := linter.Lint(name, []byte(text), nil)
		if err != nil {
			t.Error(err)
		}
		for _, problem := range problems {
			t.Error(problem)
		}
	}
}

// commandLine finds a call of patrol in a shell, a unit or a crontab.
var (
	commandLine = regexp.MustCompile(`(?:^|[\s"/=])patrol ((?:audit|plan|show|approve|apply|report|doctor|init|findings|tokens|snapshots|policies|waivers|evaluate|evaluations|export|forecast|config|schema|undo|verify|notices|simulate|demo|collect)\b[^|>&;]*)`)
	quoted      = regexp.MustCompile(`"[^"]*"|'[^']*'`)
)

// TestExamplesCallPatrol parses each call in the examples and on the pages, as
// patrol itself would: commands, flags, formats.
func TestExamplesCallPatrol(t *testing.T) {
	t.Parallel()
	files := examples(t)
	pages, err := filepath.Glob("../../docs/*.md")
	must(t, err)
	for _, page := range append(pages, "../../README.md", "../../SECURITY.md") {
		name := strings.TrimPrefix(filepath.ToSlash(page), "../../")
		files[name] = commandBlocks(read(t, name))
	}
	calls := 0
	for name, text := range files {
		for line := range strings.SplitSeq(text, "\n") {
			line, _, _ = strings.Cut(line, " # ")
			found := commandLine.FindStringSubmatch(line)
			if found == nil || strings.Contains(line, "`patrol") {
				continue
			}
			calls++
			if err := parseCall(strings.Fields(quoted.ReplaceAllString(found[1], "X"))); err != nil {
				t.Errorf("%s: %s: %v", name, found[0], err)
			}
		}
	}
	if calls < 12 {
		t.Errorf("found %d calls only", calls)
	}
}

// commandBlocks are the lines of a page's blocks of shell; a line that ends in \ goes on.
func commandBlocks(page string) string {
	var b strings.Builder
	for i, block := range strings.Split(page, "```") {
		if kind, text, _ := strings.Cut(block, "\n"); i%2 == 1 && (kind == "sh" || kind == "bash") {
			b.WriteString(strings.ReplaceAll(text, "\\\n", " "))
		}
	}
	return b.String()
}

func parseCall(args []string) error {
	a := newApp(systemEnv())
	cmd, rest, err := a.root().Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	if cmd.Name() != "audit" && cmd.Name() != "report" {
		return nil
	}
	formats, err := cmd.Flags().GetStringSlice("format")
	if err != nil {
		return err
	}
	for _, format := range formats {
		if _, err := reports.Lookup(format); err != nil {
			return err
		}
	}
	return nil
}

func TestExamplesAreListed(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/ci.md")
	for name := range examples(t) {
		if !strings.Contains(page, "(examples/"+name+")") {
			t.Errorf("docs/ci.md does not name %s", name)
		}
	}
}

// TestDockerfile holds what the page promises: this Go, a static binary, nothing
// else in the image, no root.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	text := read(t, "Dockerfile")
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "go.mod"))[1]
	for _, want := range []string{"ARG GO_IMAGE=golang:" + version + "\n", "\nFROM ${GO_IMAGE} AS build\n", "CGO_ENABLED=0", "\nFROM scratch\n", "\nUSER 65532:65532\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("Dockerfile has no %q", want)
		}
	}
	if strings.Count(text, "\nFROM ") != 2 || strings.Contains(text, ":latest") {
		t.Error("Dockerfile has other stages")
	}
}

// TestScheduledExamples asks the tools that run them, where they are.
func TestScheduledExamples(t *testing.T) {
	t.Parallel()
	files := examples(t)
	t.Run("systemd", func(t *testing.T) {
		analyze, err := exec.LookPath("systemd-analyze")
		if err != nil {
			t.Skip("systemd-analyze is not installed")
		}
		dir := t.TempDir()
		service := filepath.Join(dir, "patrol.service")
		must(t, os.WriteFile(service, []byte(strings.ReplaceAll(files["patrol.service"], "/usr/local/bin/patrol", "/bin/true")), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "patrol.timer"), []byte(files["patrol.timer"]), 0o600))
		verify := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", service, filepath.Join(dir, "patrol.timer"))
		output, err := verify.CombinedOutput()
		if strings.Contains(string(output), "patrol.") {
			t.Errorf("%v: %s", err, output)
		}
	})
	t.Run("python", func(t *testing.T) {
		python, err := exec.LookPath("python3")
		if err != nil {
			t.Skip("python3 is not installed")
		}
		compile := exec.CommandContext(t.Context(), python, "-c", "import ast, sys; ast.parse(sys.stdin.read())")
		compile.Stdin = strings.NewReader(files["databricks_job.py"])
		if output, err := compile.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, output)
		}
	})
}

func TestReleaseFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := newApp(systemEnv())
	must(t, releaseFiles(a.root(), dir))
	for _, name := range []string{"man/patrol.1", "man/patrol-audit.1", "completions/patrol.bash", "completions/_patrol", "completions/patrol.fish"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
