package main

import "patrol/engine"

// judged are the snapshots that a report is of.
func judged(r engine.Report) []engine.Snapshot {
	list := make([]engine.Snapshot, len(r.Workspaces))
	for i, w := range r.Workspaces {
		list[i] = w.Snapshot
	}
	return list
}
