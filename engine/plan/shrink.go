package plan

import (
	"errors"
	"fmt"

	"patrol/engine"
)

// refuseShrunk stops a plan from a snapshot that lost most of its tokens. That
// there are none is believed once two complete snapshots in a row say so.
func (b *builder) refuseShrunk() error {
	if b.in.AcceptShrink {
		return nil
	}
	var suspects []error
	for _, w := range b.order {
		if !w.Snapshot.Coverage[engine.SectionTokens].Complete() {
			continue
		}
		before, known := b.in.Previous[w.Snapshot.Workspace.ID]
		now := w.Snapshot.Tokens
		switch {
		case now == 0 && !known:
			suspects = append(suspects, fmt.Errorf("workspace %s holds no tokens", w.Snapshot.Workspace.Name))
		case engine.Shrunk(before, now):
			suspects = append(suspects, fmt.Errorf("workspace %s holds %d tokens, the complete snapshot before held %d", w.Snapshot.Workspace.Name, now, before))
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	return &engine.Error{Class: engine.ClassRefused, Reason: "suspect", Op: "plan", Err: errors.Join(suspects...),
		Hint: "Audit again: when a second snapshot agrees, or --accept-shrink says that it is so, the plan is made."}
}
