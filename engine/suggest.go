package engine

import (
	"slices"
	"strings"
)

// DidYouMean says what may have been meant by a word that is not among those
// known: the nearest, or else all of them where they are few.
func DidYouMean(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	if len(known) == 0 {
		return "there are none"
	}
	if most := 20; len(known) > most {
		return "want one of " + strings.Join(known[:most], ", ") + ", …"
	}
	return "want one of " + strings.Join(known, ", ")
}

// Nearest is the known word that takes the fewest changes to get to, if those
// are few: a quarter of its letters. Letter case and - for _ count for nothing.
func Nearest(word string, known []string) string {
	plain := strings.NewReplacer("_", "-", " ", "-").Replace
	word = plain(strings.ToLower(strings.TrimSpace(word)))
	best, fewest := "", 0
	for _, candidate := range slices.Sorted(slices.Values(known)) {
		other := plain(strings.ToLower(candidate))
		changes := distance([]rune(word), []rune(other))
		if changes <= max(1, len(other)/4) && changes < max(len(other), 2) && (best == "" || changes < fewest) {
			best, fewest = candidate, changes
		}
	}
	return best
}

// distance is how many letters must be added, taken away, changed, or swapped
// with the next (optimal string alignment).
func distance(a, b []rune) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
