package eval

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"testing"

	"patrol/engine"
	"patrol/engine/policy"
	"patrol/policies"
)

func builtIn(t testing.TB) *Set {
	t.Helper()
	set, err := loadBuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var loadBuiltIn = sync.OnceValues(func() (*Set, error) {
	return Load(context.Background(), policy.Pack{Name: "built-in", FS: policies.FS})
})

// population makes n tokens, of which some break each policy.
func population(n int) iter.Seq2[engine.Subject, error] {
	return func(yield func(engine.Subject, error) bool) {
		for i := range n {
			s := healthy(func(t *engine.Token) {
				t.ID = fmt.Sprintf("%064x", i)
				t.Created = ptr(asOf().UnixMilli() - int64(i%400)*engine.Day)
				t.Expires = ptr(*t.Created + int64(10+i%500)*engine.Day)
				if i%10 == 0 {
					t.Expires = ptr(engine.NeverExpires)
				}
			})
			s.Owner.Active = ptr(i%50 != 0)
			if !yield(s, nil) {
				return
			}
		}
	}
}

// BenchmarkEvaluate judges tokens by ten of the built-in policies; ns/op is per token.
func BenchmarkEvaluate(b *testing.B) {
	kept := 0
	set := builtIn(b).Select(func(p engine.Policy) bool {
		if p.Resource == engine.ResourceToken {
			kept++
		}
		return p.Resource == engine.ResourceToken && kept <= 10
	})
	findings := 0
	b.ReportAllocs()
	b.ResetTimer()
	_, err := set.Evaluate(b.Context(), Job{Snapshot: covered(nil), AsOf: asOf(), Tokens: either(population(b.N))}, func(engine.Finding) error {
		findings++
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(findings)/float64(b.N), "findings/op")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/1e6, "MB")
}

// BenchmarkLoad loads the built-in pack.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		builtIn(b)
	}
}
