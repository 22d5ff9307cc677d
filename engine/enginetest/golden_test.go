package enginetest

import (
	"strings"
	"testing"
)

func TestDifferingLines(t *testing.T) {
	t.Parallel()
	same := strings.Repeat("same\n", 50)
	long := strings.Repeat("x", 500)
	for _, c := range []struct{ want, got, lines string }{
		{same + "old\n" + same, same + "old\n" + same, ""},
		{same + "old\n" + same, same + "new\n" + same, "@@ -48,7 +48,7 @@\n-old\n+new\n"},
		{same + "old\n", same + "new\nnewer\n", "@@ -48,4 +48,5 @@\n-old\n+new\n+newer\n"},
		{long + "1" + long + "\n", long + "22" + long + "\n", "@@ -1,1 +1,1 @@\n-…" + long[:60] + "1" + long[:60] + "…\n+…" + long[:60] + "22" + long[:60] + "…\n"},
		{"-- a\n", "++ a\n", "@@ -1,1 +1,1 @@\n--- a\n+++ a\n"},
	} {
		if got := differing("x", []byte(c.want), []byte(c.got)); got != c.lines {
			t.Errorf("%q and %q: got %q, want %q", c.want, c.got, got, c.lines)
		}
	}
}
