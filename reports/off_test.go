package reports

import (
	"bytes"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/reports/table"
)

// TestCoverageWordsInEveryFormat: that tokens are off, and what contradicts an
// answer that cannot be true, is said wherever people read.
func TestCoverageWordsInEveryFormat(t *testing.T) {
	t.Parallel()
	r := report()
	coverage := r.Workspaces[1].Snapshot.Coverage
	coverage[engine.SectionTokens] = engine.Coverage{Status: engine.Off, Detail: "enableTokensConfig is false"}
	coverage[engine.SectionPrincipals] = engine.Coverage{Status: engine.Implausible, Reason: "caller_missing", Detail: "the list of users lacks the caller"}
	for _, name := range []string{"json", "html", "markdown", "junit", "sarif", "xlsx"} {
		format, err := Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := format.Write(t.Context(), &b, r); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if name == "xlsx" {
			text = string(dumpWorkbook(t, b.Bytes()))
		}
		wanted := []string{"implausible", "the list of users lacks the caller"}
		switch name {
		case "html", "markdown", "xlsx":
			wanted = append(wanted, "Tokens are off in sandbox")
		case "json":
			wanted = append(wanted, `"status":"off"`)
		}
		for _, want := range wanted {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
	}
	var b bytes.Buffer
	if err := Table(t.Context(), &b, r, TableOptions{Options: table.Options{Width: 200}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Tokens are off in sandbox", "principals: implausible (caller_missing)", "the list of users lacks the caller"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the terminal does not say %q", want)
		}
	}
}
