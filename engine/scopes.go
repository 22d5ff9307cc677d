package engine

import (
	"slices"
	"strings"
)

// AllAPIs is the scope without which a credential is bound to some APIs.
const AllAPIs = "all-apis"

// SplitScope parts a scope from its modifiers: sql:read:restricted-query.
func SplitScope(scope string) (base string, modifiers []string) {
	parts := strings.Split(scope, ":")
	return parts[0], parts[1:]
}

// Unrestricted reports whether scopes let a token call every API.
func Unrestricted(scopes []string) bool { return len(scopes) == 0 || slices.Contains(scopes, AllAPIs) }

// ScopeWrites reports whether a scope lets a token change anything. Of modifiers
// that are not known it is taken to be so.
func ScopeWrites(scope string) bool {
	_, modifiers := SplitScope(scope)
	return len(modifiers) == 0 || slices.ContainsFunc(modifiers, func(m string) bool { return m != "read" && m != "restricted-query" })
}

// ScopesCover reports whether scopes allow all that another one does: sql covers
// sql:read, sql:read:restricted-query covers both of its parts.
func ScopesCover(scopes []string, wanted string) bool {
	base, modifiers := SplitScope(wanted)
	held := map[string]bool{}
	for _, scope := range scopes {
		switch of, with := SplitScope(scope); {
		case of == AllAPIs && len(with) == 0, of == base && len(with) == 0:
			return true
		case of == base:
			for _, m := range with {
				held[m] = true
			}
		}
	}
	return len(modifiers) > 0 && !slices.ContainsFunc(modifiers, func(m string) bool { return !held[m] })
}

// LeastScopes are the fewest scopes that allow the same: one of each name, sorted.
func LeastScopes(scopes []string) []string {
	held := map[string][]string{} // modifiers by name; none: all of it
	for _, scope := range scopes {
		base, modifiers := SplitScope(scope)
		before, known := held[base]
		if known && len(before) == 0 || len(modifiers) == 0 {
			held[base] = nil
			continue
		}
		held[base] = append(before, modifiers...)
	}
	if modifiers, known := held[AllAPIs]; known && len(modifiers) == 0 {
		return []string{AllAPIs}
	}
	var least []string
	for _, base := range SortedKeys(held) {
		modifiers := slices.Compact(slices.Sorted(slices.Values(held[base])))
		least = append(least, strings.Join(append([]string{base}, modifiers...), ":"))
	}
	return least
}

// callScope is what a call that the audit log says of takes.
type callScope struct {
	scope   string // "": none
	service string
	actions string // separated by blanks
}

// CallsAsOf is when the sources of the table of calls were read.
const CallsAsOf = "2026-11-30"

// callScopes are made from the documented scopes and the audit log reference, and
// from nothing else. What is not here nobody can tell. The log has no reads of
// some services at all.
func callScopes() []callScope {
	return []callScope{
		{"", "accounts", "tokenLogin"},
		{"access-management", "accounts", "changeDbTokenAcl"},
		{"access-management", "clusters", "changeClusterAcl"},
		{"access-management", "jobs", "changeJobAcl"},
		{"alerts", "alerts", "apiCreateAlert apiTrashAlert apiUpdateAlert"},
		{"alerts:read", "alerts", "apiGetAlert"},
		{"apps", "apps", "createApp deleteApp deployApp startApp stopApp updateApp"},
		{"authentication", "accounts", "generateDbToken revokeDbToken"},
		{"clusters", "clusters", "create createResult delete deleteResult edit permanentDelete resize resizeResult start startResult"},
		{"dashboards", "dashboards", "createDashboard publishDashboard trashDashboard unpublishDashboard updateDashboard"},
		{"dashboards:read", "dashboards", "getDashboard getPublishedDashboard"},
		{"jobs", "jobs", "cancel cancelAllRuns create delete deleteRun repairRun reset runNow submitRun update"},
		{"jobs:read", "jobs", "getRunOutput"},
		{"scim", "accounts", "activateUser add addPrincipalToGroup createGroup deactivateUser delete removeGroup removePrincipalFromGroup updateUser"},
		{"settings", "workspace", "workspaceConfEdit"},
		{"sql", "databrickssql", "cancelQueryExecution commandFinish commandSubmit createEndpoint createQuery createWarehouse deleteEndpoint deleteQuery deleteWarehouse " +
			"editEndpoint editWarehouse executeAdhocQuery executeSavedQuery startEndpoint startWarehouse stopEndpoint stopWarehouse updateQuery"},
		{"sql:read", "databrickssql", "getQuery listQueries"},
		{"unity-catalog", "unityCatalog", "createCatalog createExternalLocation createFunction createSchema createStorageCredential createTable createVolume " +
			"deleteCatalog deleteExternalLocation deleteFunction deleteSchema deleteStorageCredential deleteTable deleteVolume " +
			"generateTemporaryPathCredential generateTemporaryTableCredential updateCatalog updateExternalLocation updatePermissions updateSchema updateStorageCredential updateVolume"},
		{"unity-catalog:read", "unityCatalog", "getCatalog getEffectivePermissions getExternalLocation getFunction getMetastore getPermissions getSchema getStorageCredential getTable " +
			"listCatalogs listExternalLocations listFunctions listMetastores listSchemas listStorageCredentials listTables"},
	}
}

// CallScopes lists each call that is known with its scope, by service, then action.
func CallScopes(each func(call Call, scope string)) {
	for _, row := range callScopes() {
		for action := range strings.FieldsSeq(row.actions) {
			each(Call{Service: row.service, Action: action}, row.scope)
		}
	}
}

var scopeOfCall = func() map[string]string {
	scopes := map[string]string{}
	CallScopes(func(call Call, scope string) { scopes[call.String()] = scope })
	return scopes
}()

// ScopeOf is the scope that a call takes, "" where it takes none; known is false
// where nobody can tell.
func ScopeOf(call Call) (scope string, known bool) {
	scope, known = scopeOfCall[call.String()]
	return scope, known
}

// Need is what a token needs by all that was seen of it.
type Need struct {
	Scopes  []string // the least
	Unknown []string // calls of which nobody can tell what they take
	ByLog   []string // those of Scopes that the audit log's calls take
}

// NeedOf puts together what the platform inferred and what the audit log saw.
// Calls that were always refused need nothing: they do not work as it is.
func NeedOf(t *Token, a *Activity) Need {
	scopes := slices.Concat(t.InferredScopes, t.BackfillScopes)
	var n Need
	if a != nil && a.Detail != nil {
		for _, call := range a.Detail.Calls {
			switch scope, known := ScopeOf(call); {
			case call.Refused == call.Events:
			case !known:
				n.Unknown = append(n.Unknown, call.String())
			case scope != "":
				n.ByLog = append(n.ByLog, scope)
			}
		}
		if a.Detail.MoreCalls > 0 {
			n.Unknown = append(n.Unknown, "calls that the log does not list")
		}
	}
	n.ByLog = LeastScopes(n.ByLog)
	n.Scopes = LeastScopes(append(scopes, n.ByLog...))
	return n
}

// WritingScopes are those of a token's scopes that let it change something.
func WritingScopes(t *Token) []string {
	if len(t.Scopes) == 0 {
		return []string{AllAPIs}
	}
	var writing []string
	for _, scope := range t.Scopes {
		if ScopeWrites(scope) {
			writing = append(writing, scope)
		}
	}
	return writing
}

// ReadOnlyScopes are what is left to a token that may write and was only seen to
// read; nil for any other. A token with scopes of its own keeps the reading part
// of each, for the log does not have every call that reads.
func ReadOnlyScopes(t *Token, a *Activity) []string {
	need := NeedOf(t, a)
	if len(WritingScopes(t)) == 0 || len(need.ByLog) == 0 || len(need.Unknown) > 0 || slices.ContainsFunc(need.Scopes, ScopeWrites) {
		return nil
	}
	if Unrestricted(t.Scopes) {
		return need.Scopes
	}
	kept := slices.Clone(need.Scopes)
	for _, scope := range t.Scopes {
		if ScopeWrites(scope) {
			scope, _ = SplitScope(scope)
			scope += ":read"
		}
		kept = append(kept, scope)
	}
	return LeastScopes(kept)
}

// RefusedCalls are the calls of a log that scopes do not allow.
func RefusedCalls(scopes []string, a *Activity) (calls []Call) {
	if a == nil || a.Detail == nil {
		return nil
	}
	for _, call := range a.Detail.Calls {
		if scope, known := ScopeOf(call); call.Refused < call.Events && (!known || scope != "" && !ScopesCover(scopes, scope)) {
			calls = append(calls, call)
		}
	}
	return calls
}
