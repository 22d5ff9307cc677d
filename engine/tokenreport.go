package engine

// SectionTokenReport is how an account's own report of all tokens, an exported
// file, and what was read of a workspace differ. No call reads it: a collector
// compares the file with the list of tokens.
const SectionTokenReport SectionName = "token_report"

// ReportComparison is the document of that section.
type ReportComparison struct {
	Counts ComparedCounts `json:"counts"`
	// MissingHere are tokens of the report that the workspace does not list,
	// MissingThere those that it lists and the report does not have: expired
	// ones last, else the oldest first and those of unknown age before them, and
	// not more than MostUnmatched of each.
	MissingHere  []UnmatchedToken `json:"missing_here"`
	MissingThere []UnmatchedToken `json:"missing_there"`
}

// MostUnmatched bounds each list of a comparison; counts are whole.
const MostUnmatched = 100

// ComparedCounts are numbers of tokens.
type ComparedCounts struct {
	Report       int `json:"report"` // in the report, of this workspace
	Read         int `json:"read"`
	Both         int `json:"both"`
	MissingHere  int `json:"missing_here"`
	MissingThere int `json:"missing_there"`
}

// UnmatchedToken is a token that one side has alone, with the facts as of the
// snapshot. A fact that is not known is left out.
type UnmatchedToken struct {
	ID      string `json:"token_id"`
	AgeDays *int64 `json:"age_days,omitempty"`
	Expired *bool  `json:"expired,omitempty"`
}
