package remedy

import "patrol/engine"

// Parsers read rows of answers as the collectors do, so that what apply sees
// of a token or of the grants is spelt as what the plan saw.
type Parsers struct {
	Token  func(row []byte) (engine.Token, error)
	Grants func(answer []byte) (engine.Grants, error)
	// Principal reads one of the directory. Its groups are those that it is in
	// directly, and whether it is an admin it does not tell.
	Principal func(answer []byte, kind engine.Kind) (engine.Principal, error)
}

// set is what remedies register with: one method each, in their own file.
type set struct{ parse Parsers }

// All returns every remedy, by name.
func All(p Parsers) []engine.Remedy { return engine.Plugins[engine.Remedy](set{p}) }
