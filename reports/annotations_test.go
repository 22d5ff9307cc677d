package reports

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/reports/table"
)

func annotationLines(t *testing.T, format Format, r engine.Report) []string {
	t.Helper()
	var b bytes.Buffer
	if err := format.Write(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// TestAnnotationsObeyNobody: each line is one command of ours, whatever the
// text in it, and the last tells what is not shown.
func TestAnnotationsObeyNobody(t *testing.T) {
	t.Parallel()
	r := report()
	attacks := []string{"\n::set-env name=PATH::/tmp", "%0A::add-mask::x", "##vso[task.setvariable variable=PATH]x", "]x", ";type=error", "a,b:c", "\r\n##[command]x"}
	var findings []engine.Finding
	for i, attack := range attacks {
		f := finding(fmt.Sprintf("X-%d", i), attack, engine.High, engine.Fail, prod, tokenID(i), attack, attack)
		f.Workspace = attack
		findings = append(findings, f)
		r.Policies = append(r.Policies, engine.PolicyReport{Policy: engine.Policy{ID: f.Policy, Title: attack, File: attack}})
	}
	r.Findings = table.Known(findings)
	for _, format := range []Format{catalogue{}.GitHub(), catalogue{}.AzureDevOps()} {
		all := annotationLines(t, format, r)
		for _, line := range all[:len(all)-1] {
			github := strings.HasPrefix(line, "::error title=") || strings.HasPrefix(line, "::warning title=")
			azure := strings.HasPrefix(line, "##vso[task.logissue type=error") || strings.HasPrefix(line, "##vso[task.logissue type=warning")
			if !github && !azure {
				t.Errorf("%s: %q", format.Name, line)
			}
		}
		if len(all) != len(attacks)+5 {
			t.Errorf("%s: %d lines", format.Name, len(all))
		}
	}
}

func TestGitHubLine(t *testing.T) {
	t.Parallel()
	got := githubLine(annotation{"error", "100%, a:b", &place{"p/a b.rego", 7}, "one\ntwo 5%"})
	if want := "::error title=100%25%2C a%3Ab,file=p/a b.rego,line=7::one%0Atwo 5%25"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAzureLine(t *testing.T) {
	t.Parallel()
	got := azureLine(annotation{"notice", "t", &place{"p;x]", 7}, "one\ntwo 5%"})
	if want := "##vso[task.logissue type=warning;sourcepath=p%3Bx%5D;linenumber=7]t%0Aone%0Atwo 5%AZP25"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestAnnotationsAreCapped at what a runner shows.
func TestAnnotationsAreCapped(t *testing.T) {
	t.Parallel()
	for n, left := range map[int]string{0: "0 errors, 0 warnings, 0 notices; 0 not", 1: "1 error, 0 warnings, 0 notices; 0 not", 10: "10 errors, 0 warnings, 0 notices; 0 not", 11: "10 errors, 0 warnings, 0 notices; 1 not"} {
		r := engine.Report{FailOn: engine.FailOn(engine.Low)}
		var findings []engine.Finding
		for i := range n {
			findings = append(findings, finding(fmt.Sprintf("X-%02d", i), "t", engine.High, engine.Fail, prod, tokenID(i), "o", "m"))
		}
		r.Findings = table.Known(findings)
		all := annotationLines(t, catalogue{}.GitHub(), r)
		if len(all) != min(n, 10)+1 || !strings.Contains(all[len(all)-1], left) {
			t.Errorf("%d policies: %q", n, all[len(all)-1])
		}
	}
}
