package enginetest

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"patrol/engine"
)

// Files is a file system of texts by path.
func Files(texts map[string]string) fs.FS {
	files := fstest.MapFS{}
	for path, text := range texts {
		files[path] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

// Schemas are the schemas of a pack and nothing else.
func Schemas(t testing.TB, pack fs.FS) fs.FS {
	t.Helper()
	texts := map[string]string{}
	for _, name := range []string{"schemas/token.json", "schemas/workspace.json", "schemas/waiver.json", "schemas/secret.json"} {
		text, err := fs.ReadFile(pack, name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	return Files(texts)
}

// PolicyText is a policy with the least metadata; custom holds more lines of it.
func PolicyText(resource, name, id, custom, body string) string {
	more := ""
	for _, line := range strings.Split(custom, "\n") {
		if line != "" {
			more += "#   " + line + "\n"
		}
	}
	return fmt.Sprintf(`# METADATA
# title: Title of %[1]s
# description: Why it matters.
# custom:
#   id: %[1]s
#   severity: high
#   remedy: revoke
%[2]spackage patrol.%[3]s.%[4]s

%[5]s
`, id, more, resource, name, body)
}

// TokenPolicy is one policy on tokens, as a pack.
func TokenPolicy(custom, body string) map[string]string {
	return map[string]string{"token/rule.rego": PolicyText("token", "rule", "T-1", custom, body)}
}

// WorkspacePolicy is one policy on the workspace, as a pack.
func WorkspacePolicy(custom, body string) map[string]string {
	return map[string]string{"workspace/rule.rego": PolicyText("workspace", "rule", "W-1", custom, body)}
}

// FieldNames are the fields of input.token, or those below owner., sorted.
func FieldNames(prefix string) (names []string) {
	for _, f := range engine.Fields() {
		if name, below := strings.CutPrefix(f.Name, prefix); below && !strings.Contains(name, ".") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Equal fails a test with what differs.
func Equal[T any](t testing.TB, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
