package engine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Imports    []string
}

// TestArrows holds the architecture: every import arrow ends at the engine's
// vocabulary, siblings meet only in cmd, and each large library has one owner.
func TestArrows(t *testing.T) {
	t.Parallel()
	owners := map[string][]string{
		"modernc.org/sqlite":                      {"patrol/engine/sqlite", "patrol/cmd/bench"}, // which measures what the store is held against
		"github.com/open-policy-agent/opa":        {"patrol/engine/policy", "patrol/engine/eval", "patrol/engine/policy/prefilter"},
		"github.com/xuri/excelize":                {"patrol/reports/workbook"},
		"github.com/parquet-go/parquet-go":        {"patrol/reports/parquet"},
		"github.com/databricks/databricks-sdk-go": {"patrol/collectors"},
		"github.com/spf13/cobra":                  {"patrol/cmd/patrol"},
	}
	for _, p := range listPackages(t) {
		for _, path := range p.Imports {
			if strings.HasPrefix(path, "patrol/") && !allowed(p.ImportPath, path) {
				t.Errorf("%s imports %s: arrows end at patrol/engine, siblings meet in cmd", p.ImportPath, path)
			}
			for library, owner := range owners {
				if strings.HasPrefix(path, library) && !slices.Contains(owner, p.ImportPath) {
					t.Errorf("%s imports %s: only %v may", p.ImportPath, path, owner)
				}
			}
			if p.ImportPath == "patrol/engine" && strings.Contains(path, ".") {
				t.Errorf("patrol/engine imports %s: the vocabulary needs the standard library only", path)
			}
		}
	}
}

func allowed(from, to string) bool {
	if strings.HasPrefix(from, "patrol/cmd/") {
		return true
	}
	if to == "patrol/engine/sqlite" {
		return from == "patrol/engine/store" || from == "patrol/engine/journal"
	}
	if to == "patrol/engine/policy" || to == "patrol/engine/eval/sandbox" { // policies are loaded, then run
		return from == "patrol/engine/eval"
	}
	if to == "patrol/engine/policy/prefilter" { // a child of policy, whose conditions it translates
		return from == "patrol/engine/eval" || from == "patrol/engine/policy"
	}
	if to == "patrol/reports/table" || to == "patrol/reports/workbook" { // the one model of a table, and its workbooks
		return strings.HasPrefix(from, "patrol/reports")
	}
	if to == "patrol/engine/remedy" { // all that is said of a remedy, for whoever plans, tells or does it
		return from != "patrol/engine"
	}
	return to == "patrol/engine" || ((to == "patrol/engine/outfile" || to == "patrol/engine/strictyaml") && from != "patrol/engine")
}

func listPackages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "patrol/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
}
