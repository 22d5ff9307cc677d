package eval

import (
	"fmt"
	"testing"
)

// BenchmarkWaiverJudge: what a verdict costs that is known, and one that is not.
func BenchmarkWaiverJudge(b *testing.B) {
	set := builtin(b)
	b.Run("known", func(b *testing.B) {
		j := waiverJudge(b, set, nil)
		for b.Loop() {
			j.Judge(b.Context(), caseOf(granted(), waivable()))
		}
	})
	b.Run("new owner", func(b *testing.B) {
		j := waiverJudge(b, set, nil)
		f := waivable()
		for i := 0; b.Loop(); i++ {
			f.Owner = fmt.Sprint(i, "@example.com")
			j.Judge(b.Context(), caseOf(granted(), f))
		}
	})
}
