//go:build unix

package rigs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVulnSaysWhatWasNotChecked: `make vuln` fails when something was found or
// when a database that was given cannot be read; when there is none, it says so.
func TestVulnSaysWhatWasNotChecked(t *testing.T) {
	t.Parallel()
	const unreachable = "govulncheck: fetching vulnerabilities: Get \"https://vuln.go.dev/index/modules.json.gz\": dial tcp: lookup vuln.go.dev: no such host"
	for name, test := range map[string]struct {
		says      string // the stand-in for `go run govulncheck`
		exit      string
		env       []string
		code      int
		unchecked bool
	}{
		"clean":                   {"No vulnerabilities found.", "0", nil, 0, false},
		"found":                   {"Your code is affected by 1 vulnerability from 1 module.", "3", nil, 3, false},
		"does not compile":        {"govulncheck: loading packages: undefined: x", "1", nil, 1, false},
		"unreachable":             {unreachable, "1", nil, 0, true},
		"unreachable for release": {unreachable, "1", []string{"VULN_REQUIRED=1"}, 1, true},
		"forbidden by a proxy":    {"govulncheck: fetching vulnerabilities: HTTP GET returned unexpected status: 403 Forbidden", "1", nil, 0, true},
		"broken copy":             {"govulncheck: fetching vulnerabilities: open index/modules.json: no such file", "1", []string{"VULN_DB=."}, 1, true},
		"no such copy":            {"No vulnerabilities found.", "0", []string{"VULN_DB=no-such-directory"}, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			stand := filepath.Join(dir, "go")
			script := "#!/bin/sh\necho \"$@\"\ncat <<'EOT'\n" + test.says + "\nEOT\nexit " + test.exit + "\n"
			if err := os.WriteFile(stand, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			said, code, unchecked := runVuln(t, dir, append(test.env, "GO="+stand))
			if code != test.code || unchecked != test.unchecked {
				t.Errorf("exit %d, unchecked %v:\n%s", code, unchecked, said)
			}
			if strings.Contains(said, "vuln: NOT CHECKED: ") != test.unchecked || strings.Contains(said, "::warning ") != test.unchecked {
				t.Errorf("said %s", said)
			}
		})
	}
}

// TestVulnReadsACopy of the database, by whatever path it is named.
func TestVulnReadsACopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	for database, want := range map[string]string{
		".": "run tool -db file://" + real + " ./...\n", "https://mirror.example.com/vuln": "run tool -db https://mirror.example.com/vuln ./...\n", "": "run tool ./...\n",
	} {
		if said, code, _ := runVuln(t, real, []string{"GO=echo", "VULN_DB=" + database}); code != 0 || said != want {
			t.Errorf("%s: exit %d, said %q, want %q", database, code, said, want)
		}
	}
}

func runVuln(t *testing.T, dir string, env []string) (said string, code int, unchecked bool) {
	t.Helper()
	script, err := filepath.Abs("../../../.ci/vuln")
	if err != nil {
		t.Fatal(err)
	}
	notes := filepath.Join(dir, "unchecked")
	cmd := exec.CommandContext(t.Context(), "sh", script)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "VULN=tool", "UNCHECKED=" + notes, "GITHUB_ACTIONS=true"}, env...)
	out, _ := cmd.CombinedOutput() // its exit code is looked at
	text, _ := os.ReadFile(notes)  // not there: nothing was left unchecked
	return string(out), cmd.ProcessState.ExitCode(), strings.Contains(string(text), "NOT CHECKED")
}
