package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	cmpdiff "github.com/google/go-cmp/cmp"

	"patrol/engine"
	"patrol/policies"
)

// pack makes a pack of files by path.
func pack(name string, files map[string]string) Pack {
	fsys := fstest.MapFS{}
	for path, text := range files {
		fsys[path] = &fstest.MapFile{Data: []byte(text)}
	}
	return Pack{Name: name, FS: fsys}
}

// schemas is a pack of the built-in schemas and nothing else.
func schemas(t testing.TB) Pack {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"schemas/token.json", "schemas/workspace.json", "schemas/waiver.json", "schemas/secret.json"} {
		text, err := policies.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	return pack("built-in", files)
}

func load(t testing.TB, files map[string]string) *Set {
	t.Helper()
	set, err := Load(t.Context(), schemas(t), pack("pack", files))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// problemsOf loads files that must not load.
func problemsOf(t testing.TB, files map[string]string) Problems {
	t.Helper()
	_, err := Load(t.Context(), schemas(t), pack("pack", files))
	return asProblems(t, err)
}

func asProblems(t testing.TB, err error) Problems {
	t.Helper()
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("want problems, got %v", err)
	}
	if e, ok := engine.AsError(err); !ok || e.Class != engine.ClassUsage || e.Reason != "policy" || e.Hint == "" {
		t.Fatalf("want a usage error with reason policy and a hint, got %#v", err)
	}
	return problems
}

// written is a policy with the least metadata; custom holds more lines of it.
type written struct {
	resource, name, id, custom, body string
}

func (w written) text() string {
	custom := ""
	for _, line := range strings.Split(w.custom, "\n") {
		if line != "" {
			custom += "#   " + line + "\n"
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
`, w.id, custom, w.resource, w.name, w.body)
}

// tokenPolicy is one policy on tokens, as a pack.
func tokenPolicy(custom, body string) map[string]string {
	return map[string]string{"token/rule.rego": written{"token", "rule", "T-1", custom, body}.text()}
}

func workspacePolicy(custom, body string) map[string]string {
	return map[string]string{"workspace/rule.rego": written{"workspace", "rule", "W-1", custom, body}.text()}
}

// fieldNames are the fields of input.token, or those below owner., sorted.
func fieldNames(prefix string) (names []string) {
	for _, f := range engine.Fields() {
		if name, below := strings.CutPrefix(f.Name, prefix); below && !strings.Contains(name, ".") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func equal[T any](t testing.TB, got, want T) {
	t.Helper()
	if diff := cmpdiff.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func builtIn(t testing.TB) *Set {
	t.Helper()
	set, err := loadBuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var loadBuiltIn = sync.OnceValues(func() (*Set, error) {
	return Load(context.Background(), Pack{Name: BuiltIn, FS: policies.FS})
})
