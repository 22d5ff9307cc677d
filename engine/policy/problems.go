package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
)

// The reasons of problems.
const (
	reasonRead        = "policy_read"         // a file could not be read
	reasonParse       = "policy_parse"        // no valid Rego
	reasonType        = "policy_type"         // a misspelt field, a wrong type
	reasonCompile     = "policy_compile"      // unsafe variable, recursion, strict mode
	reasonSandbox     = "policy_sandbox"      // a builtin or a document that policies may not use
	reasonMetadata    = "policy_metadata"     // missing, unknown or wrong metadata
	reasonDuplicateID = "policy_duplicate_id" // two policies of one id
	reasonPackage     = "policy_package"      // a package name that does not fit the file
	reasonSchema      = "policy_schema"       // no usable schema for the resource
	reasonDeny        = "policy_deny"         // no deny rule
)

// Problem is one mistake in a pack.
type Problem struct {
	File    string // pack and path
	Line    int    // 0 when the whole file is meant
	Reason  string // stable word, policy_…
	Message string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s: %s", p.File, p.Reason, p.Message)
	}
	return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Reason, p.Message)
}

// Problems is everything wrong with the packs, in the order of files and lines.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Err is nil without problems. A compiler error in the library comes once for
// every policy that uses it, so that equal problems are told once.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message))
	})
	return &engine.Error{
		Class: engine.ClassUsage, Reason: "policy", Op: "load policies",
		Hint: "Correct the places named; docs/policy-contract.md says what a policy may contain.",
		Err:  slices.Compact(ps),
	}
}

func (ps *Problems) add(file string, line int, reason, format string, args ...any) {
	*ps = append(*ps, Problem{File: file, Line: line, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// addOPA takes over the errors of OPA's parser and compiler.
func (ps *Problems) addOPA(file string, err error) {
	var many ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &many):
	case errors.As(err, &one):
		many = ast.Errors{one}
	default:
		ps.add(file, 0, reasonParse, "%v", err)
	}
	for _, e := range many {
		p := Problem{File: file, Reason: reasonCompile, Message: e.Message}
		switch e.Code {
		case ast.ParseErr:
			p.Reason = reasonParse
		case ast.TypeErr:
			p.Reason = reasonType
		}
		if e.Location != nil {
			p.Line = e.Location.Row
			p.File = cmp.Or(e.Location.File, file)
		}
		if e.Details != nil && p.Reason == reasonType {
			for _, line := range e.Details.Lines() {
				if line = strings.TrimSpace(line); strings.Trim(line, "^ ") != "" { // OPA draws carets
					p.Message += "; " + line
				}
			}
		}
		if name, found := strings.CutPrefix(e.Message, "undefined function "); found {
			p.Reason, p.Message = reasonType, "undefined function "+name
			if why := refused()[name]; why != "" {
				p.Reason, p.Message = reasonSandbox, fmt.Sprintf("undefined function %s: policies may not use it, because %s", name, why)
			}
		}
		*ps = append(*ps, p)
	}
}
