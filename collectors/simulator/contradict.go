package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A Contradiction is a named set of faults under which the account answers with
// status 200 what cannot be true. [Contradictions] lists them; POST
// /_sim/contradict and [Account.Contradict] order one.
type Contradiction struct {
	Name   string  `json:"name"`
	About  string  `json:"about"`
	Faults []Fault `json:"-"`
}

// The lists of the account, and their paths.
const (
	pathTokens    = "/api/2.0/token-management/tokens$"
	pathOwnTokens = "/api/2.0/token/list$"
	pathUsers     = "/api/2.0/preview/scim/v2/Users$"
	pathServices  = "/api/2.0/preview/scim/v2/ServicePrincipals$"
	pathGroups    = "/api/2.0/preview/scim/v2/Groups$"
	pathGrants    = "/api/2.0/permissions/authorization/tokens$"
	pathIPLists   = "/api/2.0/ip-access-lists$"
	pathRestrict  = "/api/2.0/settings/types/restrict_workspace_admins/names/default$"
	pathConf      = "/api/2.0/workspace-conf$"
)

// Contradictions lists all of them, in a fixed order.
func Contradictions() []Contradiction {
	raw := func(text string) json.RawMessage { return json.RawMessage(text) }
	lists := []struct{ name, path string }{
		{"tokens", pathTokens}, {"own-tokens", pathOwnTokens},
		{"users", pathUsers}, {"service-principals", pathServices}, {"groups", pathGroups},
		{"grants", pathGrants}, {"ip-access-lists", pathIPLists},
		{"account-workspaces", "/api/2.0/accounts/*/workspaces$"},
		{"account-users", "/api/2.0/accounts/*/scim/v2/Users$"},
		{"account-service-principals", "/api/2.0/accounts/*/scim/v2/ServicePrincipals$"},
		{"account-groups", "/api/2.0/accounts/*/scim/v2/Groups$"},
		{"secrets", "/api/2.0/accounts/*/credentials/secrets$"},
		{"federation-policies", "/api/2.0/accounts/*/federationPolicies$"},
		{"oauth-apps", "/api/2.0/accounts/*/oauth2/custom-app-integrations$"},
		{"recipients", "/api/2.1/unity-catalog/recipients$"},
	}
	var all []Contradiction
	add := func(name, about string, faults ...Fault) {
		for i := range faults {
			faults[i].Method = http.MethodGet
		}
		all = append(all, Contradiction{name, about, faults})
	}
	for _, l := range lists {
		for _, shape := range []struct{ name, body string }{
			{"empty-object", `{}`}, {"null", `null`},
			{"error-object", `{"error_code":"INTERNAL_ERROR","message":"try again"}`}, {"detail", `{"detail":"try again","status":"200"}`},
		} {
			add(l.name+"/"+shape.name, "the list answers "+shape.body, Fault{Path: l.path, Body: shape.body})
		}
		if slices.Contains([]string{"federation-policies", "oauth-apps", "recipients"}, l.name) { // short lists, that may lose any row
			add(l.name+"/next-page-token", "says that there is more than it answers", Fault{Path: l.path, Set: map[string]json.RawMessage{"next_page_token": raw(`"more"`)}, Times: 1})
			continue
		}
		add(l.name+"/none", "the list has no rows, and its total says so", Fault{Path: l.path, Hide: []string{"*"}})
		add(l.name+"/shrunk", "the last 40 % of the rows are gone, totals agree", Fault{Path: l.path, Hide: []string{"40%"}})
		if l.name == "account-workspaces" { // a bare array has no room for more
			continue
		}
		add(l.name+"/next-page-token", "says that there is more than it answers", Fault{Path: l.path, Set: map[string]json.RawMessage{"next_page_token": raw(`"more"`)}, Times: 1})
		add(l.name+"/nextPageToken", "says so in the other spelling", Fault{Path: l.path, Set: map[string]json.RawMessage{"nextPageToken": raw(`"more"`)}, Times: 1})
		add(l.name+"/has-more", "says so by a flag", Fault{Path: l.path, Set: map[string]json.RawMessage{"has_more": raw(`true`)}})
	}
	for _, l := range lists[2:5] { // what SCIM pages
		add(l.name+"/total-too-high", "the total counts 7 rows that are on no page", Fault{Path: l.path, Total: 7})
		add(l.name+"/total-too-low", "the total counts 2 rows less than there are", Fault{Path: l.path, Total: -2})
		add(l.name+"/total-moves", "the total is another from the second page on", Fault{Path: l.path, Skip: 1, Total: 1})
		add(l.name+"/pages-repeat", "every page is the first again", Fault{Path: l.path, FirstPage: true})
		add(l.name+"/twice-id", "each row has its id twice", Fault{Path: l.path, Twice: map[string]json.RawMessage{"id": raw(`"1"`)}})
	}
	add("tokens/token-in-use-missing", "the list lacks the token that signed in", Fault{Path: pathTokens, Hide: []string{"token-in-use"}})
	add("tokens/own-missing", "the list lacks the caller's own tokens", Fault{Path: pathTokens, Hide: []string{"own"}})
	add("tokens/twice-comment", "each row has its comment twice", Fault{Path: pathTokens, Twice: map[string]json.RawMessage{"Comment": raw(`"another"`)}})
	add("tokens/twice-owner_id", "each row has its owner twice", Fault{Path: pathTokens, Twice: map[string]json.RawMessage{"owner_id": raw(`1`)}})
	add("tokens/total", "a total says more than there are", Fault{Path: pathTokens, Set: map[string]json.RawMessage{"total_count": raw(`9999`)}})
	add("users/caller-missing", "the caller of /Me is not among the users", Fault{Path: pathUsers, Hide: []string{"caller"}})
	add("service-principals/caller-missing", "the caller of /Me is not among the service principals", Fault{Path: pathServices, Hide: []string{"caller"}})
	add("users/fifth-of-owners-missing", "a fifth of the users whose tokens were used yesterday or today are not listed", Fault{Path: pathUsers, Hide: []string{"owners:20%"}})
	add("service-principals/owners-missing", "no service principal is listed whose tokens were used yesterday or today", Fault{Path: pathServices, Hide: []string{"owners:100%"}})
	add("users/twice-active", "each user is active and inactive", Fault{Path: pathUsers, Twice: map[string]json.RawMessage{"Active": raw(`false`)}})
	add("users/removed-between-pages", "a user is removed after the first page, so that another is on no page",
		Fault{Path: pathUsers, Times: 1, Then: raw(`{"user":{"name":"viewer@example.com","removed":true}}`)})
	add("groups/without-members", "the groups name no members", Fault{Path: pathGroups, Strip: []string{"members"}})
	add("groups/admins-missing", "the group admins is not listed", Fault{Path: pathGroups, Hide: []string{"admins"}})
	add("groups/nested-missing", "a group that is a member of admins is not listed", Fault{Path: pathGroups, Hide: []string{"platform-admins"}})
	add("grants/twice-permission_level", "a grant has two levels under one key", Fault{Path: pathGrants, Twice: map[string]json.RawMessage{"group_name": raw(`"nobody"`)}})
	add("settings/twice-status", "restrict_workspace_admins stands twice", Fault{Path: pathRestrict, Twice: map[string]json.RawMessage{"restrict_workspace_admins": raw(`{"status":"RESTRICT_TOKENS_AND_JOB_RUN_AS"}`)}})
	add("settings/twice-maxTokenLifetimeDays", "a setting stands twice, in another letter case", Fault{Path: pathConf, Query: "maxTokenLifetimeDays", Twice: map[string]json.RawMessage{"MaxTokenLifetimeDays": raw(`"30"`)}})
	add("ip-access-lists/twice-enabled", "a list is on and off", Fault{Path: pathIPLists, Twice: map[string]json.RawMessage{"enabled": raw(`true`)}})
	add("workspace/id-midway", "from the third call on answers carry another workspace id", Fault{Path: "/api/2.0/", Skip: 2, Headers: map[string]string{"X-Databricks-Org-Id": "1234567890123456"}})
	add("workspace/other-midway", "from the third call on the second workspace answers", Fault{Path: "/api/2.0/", Skip: 2, As: "dev-sandbox"})
	return all
}

// Contradict orders the contradiction of that name for one workspace, or for all
// where that is empty.
func (a *Account) Contradict(name, where string) error {
	all := Contradictions()
	i := slices.IndexFunc(all, func(c Contradiction) bool { return c.Name == name })
	if i < 0 {
		return errUnknown("contradiction", name)
	}
	for _, f := range all[i].Faults {
		f.Workspace = where
		a.AddFault(f)
	}
	return nil
}

// visible returns the rows of a list that no fault hides from this call. names
// says what a row is called: its id and its names.
func visible[T any](c *call, rows []T, names func(T) []string) []T {
	for _, what := range c.hide {
		hidden := map[string]bool{strings.ToLower(what): true}
		text, ofOwners := strings.CutPrefix(what, "owners:")
		percent, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
		isPercent := err == nil && strings.HasSuffix(text, "%")
		switch {
		case what == "*":
			return nil
		case ofOwners && isPercent:
			owners := c.recentOwners()
			for _, id := range owners[:(len(owners)*percent+99)/100] {
				hidden[decimal(id)] = true
			}
		case isPercent:
			rows = rows[:len(rows)*(100-percent)/100]
			continue
		}
		rows = slices.DeleteFunc(slices.Clone(rows), func(row T) bool {
			return slices.ContainsFunc(names(row), func(name string) bool { return hidden[strings.ToLower(name)] })
		})
	}
	return rows
}

// recentOwners are the principals of the directory whose tokens were used
// yesterday or today, in order of id.
func (c *call) recentOwners() []int64 {
	since := midnight(c.Now().UnixMilli()) - dayMillis
	owners := map[int64]bool{}
	for _, t := range c.ws.tokens.all() {
		if t.LastUsedDay >= since && c.directory.member(c.ws, t.OwnerID) != nil && t.OwnerID != c.who.principal.ID {
			owners[t.OwnerID] = true
		}
	}
	return slices.Sorted(maps.Keys(owners))
}

// edit changes the true answer as the fault says. What is not a JSON object, or
// no success, stays as it is.
func (f Fault) edit(reply *answer) *answer {
	if f.Total == 0 && len(f.Strip)+len(f.Set)+len(f.Twice) == 0 || reply.status != http.StatusOK {
		return reply
	}
	body := reply.whole()
	reply.stream = nil
	var rows []map[string]json.RawMessage
	var doc map[string]json.RawMessage
	list := ""
	if json.Unmarshal(body, &rows) != nil {
		if json.Unmarshal(body, &doc) != nil {
			reply.body = body
			return reply
		}
		for _, key := range []string{"Resources", "token_infos", "access_control_list", "ip_access_lists", "secrets"} {
			if part, found := doc[key]; found && json.Unmarshal(part, &rows) == nil {
				list = key
			}
		}
	}
	texts := make([]json.RawMessage, 0, len(rows))
	for _, row := range rows {
		texts = append(texts, f.editRow(row))
	}
	if doc == nil {
		reply.body = encode(texts)
		return reply
	}
	if total, err := strconv.Atoi(string(doc["totalResults"])); err == nil {
		doc["totalResults"] = json.RawMessage(strconv.Itoa(total + f.Total))
	}
	maps.Copy(doc, f.Set)
	if list != "" {
		doc[list] = encode(texts)
		reply.body = encode(doc)
	} else {
		reply.body = f.editRow(doc)
	}
	return reply
}

// editRow leaves out what is to be stripped, and adds what is to stand twice.
func (f Fault) editRow(row map[string]json.RawMessage) json.RawMessage {
	for _, key := range f.Strip {
		delete(row, key)
	}
	text := bytes.TrimSuffix(encode(row), []byte("}"))
	for _, key := range slices.Sorted(maps.Keys(f.Twice)) {
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = fmt.Appendf(text, "%s:%s", encode(key), f.Twice[key])
	}
	return append(text, '}')
}
