package engine

import (
	"slices"
	"strings"
)

// AllAPIs is the scope without which a credential is bound to some APIs.
const AllAPIs = "all-apis"

// ScopesCover reports whether a credential with these scopes may do what a scope
// allows: sql covers sql:read, sql:read:restricted-query covers both of its parts.
func ScopesCover(held []string, wanted string) bool {
	name, modifiers, _ := strings.Cut(wanted, ":")
	return slices.ContainsFunc(held, func(scope string) bool {
		has, narrowed, narrow := strings.Cut(scope, ":")
		switch {
		case has == AllAPIs, has == name && !narrow:
			return true
		case has != name || modifiers == "":
			return false
		}
		parts := strings.Split(narrowed, ":")
		return !slices.ContainsFunc(strings.Split(modifiers, ":"), func(m string) bool { return !slices.Contains(parts, m) })
	})
}
