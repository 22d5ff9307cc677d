package engine

import (
	"fmt"
	"slices"
	"strings"
)

// SharedGap is a gap that workspaces have in common: the same sections, not
// read for the same reason.
type SharedGap struct {
	Gap                 // of the first workspace and section; of the others the detail may differ
	Workspaces []string // names, in the order of the snapshots
}

// SharedGaps gathers the gaps of many snapshots, each kind once, in the order
// in which they were met.
func SharedGaps(snapshots []Snapshot) []SharedGap {
	var shared []SharedGap
	known := map[string]int{}
	for _, s := range snapshots {
		for _, gap := range s.kindsOfGap() {
			c := gap.Coverage
			key := strings.Join([]string{gap.Names(), string(c.Status), c.Reason, c.Hint}, "\x00")
			i, met := known[key]
			if !met {
				i = len(shared)
				known[key] = i
				shared = append(shared, SharedGap{Gap: gap})
			}
			shared[i].Workspaces = append(shared[i].Workspaces, s.Workspace.Name)
		}
	}
	return shared
}

// kindsOfGap are the gaps with those in one whose details alone differ: a host
// that breaks each connection off is one gap. The detail is that of the tokens,
// where they are among them.
func (s Snapshot) kindsOfGap() []Gap {
	var kinds []Gap
	for _, gap := range s.Gaps() {
		c := gap.Coverage
		i := slices.IndexFunc(kinds, func(k Gap) bool {
			return k.Coverage.Status == c.Status && k.Coverage.Reason == c.Reason && k.Coverage.Hint == c.Hint
		})
		if i < 0 {
			kinds = append(kinds, gap)
			continue
		}
		kinds[i].Sections = slices.Sorted(slices.Values(slices.Concat(kinds[i].Sections, gap.Sections)))
		if slices.Contains(gap.Sections, SectionTokens) {
			kinds[i].Coverage = c
		}
	}
	return kinds
}

// FewWords lists the first few words, and says how many more there are.
func FewWords(words []string, few int) string {
	if len(words) <= few {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s, … and %d more", strings.Join(words[:few], ", "), len(words)-few)
}
