package simulator

import (
	"net/http"
	"strings"
)

const allAPIs = "all-apis"

// scopeOf is the API scope that a path belongs to, by the documented lists.
func scopeOf(path string) string {
	for _, family := range []struct{ part, scope string }{
		{"/scim/", "scim"}, {"/permissions/", "access-management"}, {"/ip-access-lists", "networking"}, {"/sql/", "sql"},
		{"/unity-catalog/recipients", "sharing"}, {"/unity-catalog/", "unity-catalog"}, {"/workspace-conf", "settings"}, {"/settings/", "settings"}, {"/workspaces", "provisioning"},
	} {
		if strings.Contains(path, family.part) {
			return family.scope
		}
	}
	return "authentication"
}

// outOfScope refuses a call that the scopes of an OAuth token do not cover.
func (c *call) outOfScope() *answer {
	if c.who.scopes == nil {
		return nil
	}
	needed := scopeOf(c.route.path)
	reads := c.request.Method == http.MethodGet || c.request.Method == http.MethodHead
	for _, scope := range c.who.scopes {
		name, modifiers, narrow := strings.Cut(scope, ":")
		switch {
		case name == allAPIs, name == needed && !narrow,
			name == needed && reads && strings.Contains(":"+modifiers+":", ":read:"),
			name == needed && needed == "sql" && c.request.URL.Path == "/api/2.0/sql/statements" && strings.Contains(modifiers, "restricted-query"):
			return nil
		}
	}
	return c.forbid("Your token is missing the required scopes for this endpoint: %s", needed)
}
