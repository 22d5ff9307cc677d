package policy

import (
	"context"
	"errors"
	"sync"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/policies"
)

// pack makes a pack of files by path.
func pack(name string, files map[string]string) Pack {
	return Pack{Name: name, FS: enginetest.Files(files)}
}

// schemas is a pack of the built-in schemas and nothing else.
func schemas(t testing.TB) Pack {
	return Pack{Name: "built-in", FS: enginetest.Schemas(t, policies.FS)}
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
