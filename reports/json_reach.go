package reports

import "patrol/engine"

// jsonReach tells how many of the workspaces that should have been read were.
type jsonReach struct {
	Accounts    []string        `json:"account_ids"`
	Expected    int             `json:"expected"`
	Read        int             `json:"read"`
	Percent     int             `json:"percent"`
	MinCoverage int             `json:"min_coverage"`
	Missing     []engine.Unread `json:"missing"`
}

func reachJSON(r engine.Report) jsonReach {
	reach := r.Reach()
	return jsonReach{
		Accounts: append([]string{}, reach.Accounts...), Expected: reach.Expected, Read: reach.Read, Percent: reach.Percent(),
		MinCoverage: 100 - r.MayMiss, Missing: append([]engine.Unread{}, reach.Missing...),
	}
}
