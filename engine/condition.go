package engine

// Condition is a test of a token's facts without running the policy. A
// comparison with a fact that is absent is false, whatever the comparison, so
// that a condition is either true or false, and Not is what it says.
type Condition interface{ condition() }

// All holds when each of its conditions does; so does an empty one.
type All []Condition

// Any holds when one of its conditions does; an empty one never.
type Any []Condition

// Not holds when its condition does not.
type Not struct{ Of Condition }

// Known holds when a fact is there.
type Known struct{ Fact Fact }

// Compare holds when both values are there and compare so. Both are of the same
// type: numbers, texts, or truth values, which are only equal or not.
type Compare struct {
	Op          Comparison
	Left, Right Value
}

// In holds when a value equals one of a list.
type In struct {
	Value Value
	List  []Constant
}

// Test holds when a function of texts says so.
type Test struct {
	Function Function
	Args     []Value
}

func (All) condition()     {}
func (Any) condition()     {}
func (Not) condition()     {}
func (Known) condition()   {}
func (Compare) condition() {}
func (In) condition()      {}
func (Test) condition()    {}

// Comparison is how two values compare.
type Comparison string

// The comparisons.
const (
	Equal          Comparison = "="
	NotEqual       Comparison = "<>"
	Less           Comparison = "<"
	LessOrEqual    Comparison = "<="
	Greater        Comparison = ">"
	GreaterOrEqual Comparison = ">="
)

// Value is what conditions compare.
type Value interface{ value() }

// Fact is a fact of a token under the name that policies use below input:
// age_days, owner.active.
type Fact string

// Constant is a string, an int64, a float64 or a bool.
type Constant struct{ Of any }

// Call is a function of values; it is absent when one of them is.
type Call struct {
	Function Function
	Args     []Value
}

func (Fact) value()     {}
func (Constant) value() {}
func (Call) value()     {}

// Function is a function of texts or lists. Each does exactly what the builtin
// of Rego does.
type Function string

// The functions. Lower, Upper and TrimSpace give texts, Count gives the length
// of a list; the others test a text against a constant one.
const (
	Lower      Function = "lower"
	Upper      Function = "upper"
	TrimSpace  Function = "trim_space"
	Count      Function = "count"
	StartsWith Function = "starts_with" // text, prefix
	EndsWith   Function = "ends_with"   // text, suffix
	Contains   Function = "contains"    // text, part
	Matches    Function = "matches"     // text, regular expression that compiles
)
