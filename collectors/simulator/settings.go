package simulator

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Values of the restrict_workspace_admins setting.
const (
	AllowAll                 = "ALLOW_ALL"
	RestrictTokensAndJobRuns = "RESTRICT_TOKENS_AND_JOB_RUN_AS"
)

// restrictSetting is the restrict_workspace_admins setting; every write moves
// its version and with it the etag.
type restrictSetting struct {
	status            string
	disableTagCreator bool
	version           int
}

func (s restrictSetting) etag() string { return fmt.Sprintf("simulated-etag-%d", s.version) }

func (s restrictSetting) doc() obj {
	inner := obj{"status": s.status}
	if s.disableTagCreator {
		inner["disable_gov_tag_creation"] = true
	}
	return obj{"restrict_workspace_admins": inner, "etag": s.etag(), "setting_name": "default"}
}

// staleEtag is the conflict that carries the fresh etag, where the real service
// puts it.
func staleEtag(fresh string) *answer {
	return jsonAnswer(http.StatusConflict, "application/json", obj{
		"error_code": "RESOURCE_CONFLICT",
		"message":    "The etag is missing or out of date.",
		"details": []obj{{
			"@type":    "type.googleapis.com/google.rpc.ErrorInfo",
			"reason":   "SETTINGS_ETAG_MISMATCH",
			"domain":   "settings",
			"metadata": obj{"etag": fresh},
		}},
	})
}

func (c *call) mayRestrict() *answer {
	if c.who.principal.accountAdmin {
		return nil
	}
	return c.forbid("Only account admins who are members of the workspace may change restrict_workspace_admins.")
}

func patchRestrict(c *call) *answer {
	if denied := c.mayRestrict(); denied != nil {
		return denied
	}
	var body struct {
		Mask    string `json:"field_mask"`
		Setting struct {
			Etag     string `json:"etag"`
			Restrict struct {
				Status            string `json:"status"`
				DisableTagCreator bool   `json:"disable_gov_tag_creation"`
			} `json:"restrict_workspace_admins"`
		} `json:"setting"`
	}
	if bad := c.decode(&body); bad != nil {
		return bad
	}
	next := c.ws.restrict
	if body.Setting.Etag != next.etag() {
		return staleEtag(next.etag())
	}
	wanted := body.Setting.Restrict
	for field := range strings.SplitSeq(body.Mask, ",") {
		switch field {
		case "restrict_workspace_admins.status":
			next.status = wanted.Status
		case "restrict_workspace_admins.disable_gov_tag_creation":
			next.disableTagCreator = wanted.DisableTagCreator
		case "restrict_workspace_admins", "*":
			next.status, next.disableTagCreator = wanted.Status, wanted.DisableTagCreator
		default:
			return invalid("field_mask: unknown field %q", field)
		}
	}
	if !slices.Contains([]string{AllowAll, RestrictTokensAndJobRuns}, next.status) {
		return invalid("status: unknown value %q", next.status)
	}
	next.version++
	c.ws.restrict = next
	return ok(next.doc())
}

// deleteRestrict goes back to the default.
func deleteRestrict(c *call) *answer {
	if denied := c.mayRestrict(); denied != nil {
		return denied
	}
	if c.request.URL.Query().Get("etag") != c.ws.restrict.etag() {
		return staleEtag(c.ws.restrict.etag())
	}
	c.ws.restrict = restrictSetting{status: AllowAll, version: c.ws.restrict.version + 1}
	return ok(obj{"etag": c.ws.restrict.etag()})
}

// listIPAccess answers all lists, or the one that the path names. The id of a list
// is its number.
func listIPAccess(c *call) *answer {
	wanted := c.request.PathValue("id")
	rows := []obj{}
	for i, l := range c.ws.ipLists {
		id := fmt.Sprintf("00000000-0000-4000-8000-%012x", i+1)
		created, by := c.int64(c.ws.created), c.int64(c.ws.admin.ID)
		doc := obj{
			"list_id": id, "label": l.Label, "list_type": l.Type, "ip_addresses": l.Addresses,
			"address_count": len(l.Addresses), "enabled": l.Enabled,
			"created_at": created, "created_by": by, "updated_at": created, "updated_by": by,
		}
		if id == wanted {
			return ok(obj{"ip_access_list": doc})
		}
		rows = append(rows, doc)
	}
	if wanted != "" {
		return gone("IP access list %s does not exist", wanted)
	}
	return ok(obj{"ip_access_lists": visible(c, rows, func(doc obj) []string { return []string{fmt.Sprint(doc["list_id"]), fmt.Sprint(doc["label"])} })})
}

// confKeys are the keys that the workspace-conf API knows.
func confKeys() []string {
	return []string{
		"customerApprovedWSLoginExpirationTime", "enable-X-Content-Type-Options", "enable-X-Frame-Options",
		"enable-X-XSS-Protection", "enableDbfsFileBrowser", "enableDcs", "enableDeprecatedClusterNamedInitScripts",
		"enableDeprecatedGlobalInitScripts", "enableEnforceImdsV2", "enableExportNotebook", "enableFileStoreEndpoint",
		"enableGp3", "enableIpAccessLists", "enableJobViewAcls", "enableLibraryAndInitScriptOnSharedCluster",
		"enableNotebookTableClipboard", "enableProjectTypeInWorkspace", "enableProjectsAllowList",
		"enableResultsDownloading", "enableTokensConfig", "enableUploadDataUis", "enableVerboseAuditLogs",
		"enableWebTerminal", "enableWorkspaceFilesystem", "enforceClusterViewAcls", "enforceUserIsolation",
		"enforceWorkspaceViewAcls", "maxTokenLifetimeDays", "maxUserInactiveDays", "mlflowRunArtifactDownloadEnabled",
		"projectsAllowList", "rStudioUserDefaultHomeBase", "reposIpynbResultsExportPermissions",
		"storeInteractiveNotebookResultsInCustomerAccount",
	}
}

// getConf answers ?keys=a,b with strings, or null for what was never set. One
// unknown key fails the whole call.
func getConf(c *call) *answer {
	text := c.request.URL.Query().Get("keys")
	if text == "" {
		return invalid("Missing required field: keys")
	}
	keys := strings.Split(text, ",")
	if bad := unknownKeys(keys); bad != nil {
		return bad
	}
	values := map[string]*string{}
	for _, key := range keys {
		values[key] = nil
		if v, set := c.ws.conf[key]; set {
			values[key] = &v
		}
	}
	return ok(values)
}

func unknownKeys(keys []string) *answer {
	known := confKeys()
	var unknown []string
	for _, key := range keys {
		if !slices.Contains(known, key) {
			unknown = append(unknown, key)
		}
	}
	if unknown == nil {
		return nil
	}
	return fail(http.StatusBadRequest, "BAD_REQUEST", "Invalid keys: %s", encode(unknown))
}

// patchConf stores values verbatim, all or none.
func patchConf(c *call) *answer {
	var values map[string]*string
	if bad := c.decode(&values); bad != nil {
		return bad
	}
	if bad := unknownKeys(slices.Sorted(maps.Keys(values))); bad != nil {
		return bad
	}
	refused := map[string]*string{}
	for key, value := range values {
		allowed := value != nil
		switch {
		case value == nil:
		case key == "enableIpAccessLists", key == "enableGp3", key == "enableTokensConfig":
			allowed = strings.EqualFold(*value, "true") || strings.EqualFold(*value, "false")
		case key == "maxTokenLifetimeDays":
			days, err := strconv.Atoi(*value)
			allowed = err == nil && days >= 0 && days <= platformDays
		}
		if !allowed {
			refused[key] = value
		}
	}
	if len(refused) > 0 {
		return fail(http.StatusBadRequest, "INVALID_REQUEST", "Some values are not allowed: %s", encode(refused))
	}
	keys, texts := slices.Sorted(maps.Keys(values)), []string{}
	for _, key := range keys {
		c.ws.conf[key] = *values[key]
		texts = append(texts, *values[key])
	}
	c.note("workspaceConfEdit", map[string]string{"workspaceConfKeys": string(encode(keys)), "workspaceConfValues": string(encode(texts))})
	return &answer{status: http.StatusNoContent, header: http.Header{}}
}

// Levels of a [Grant].
const (
	CanUse    = "CAN_USE"
	CanManage = "CAN_MANAGE"
)

// Grant lets one user, group or service principal (by application id) use
// tokens; exactly one of the three names is set. The admins' CAN_MANAGE is
// implied. One that is inherited comes from the object above; what is written
// through the API is not.
type Grant struct {
	UserName             string `json:"user_name,omitempty"`
	GroupName            string `json:"group_name,omitempty"`
	ServicePrincipalName string `json:"service_principal_name,omitempty"`
	Level                string `json:"permission_level"`
	Inherited            bool   `json:"inherited,omitempty"`
}

// What the ACL of tokens answers: as usual, 404 "tokens tokens does not exist", or
// 404 FEATURE_DISABLED.
const (
	GrantsInitialised    = "initialised"
	GrantsNotInitialised = "not_initialised"
	GrantsDisabled       = "disabled"
)

// How the ACL of tokens lists the admins' CAN_MANAGE: usually not inherited and
// without a source, or from the object above, or not at all, as answers of 2020
// did. A PUT or PATCH makes it explicit.
const (
	AdminsExplicit  = "explicit"
	AdminsInherited = "inherited"
	AdminsAbsent    = "absent"
)

// principal is whom the grant is for: the key of the one name that is set, and the
// name. The key is "" where not exactly one is set.
func (g Grant) principal() (key, name string) {
	for _, p := range [][2]string{{"user_name", g.UserName}, {"group_name", g.GroupName}, {"service_principal_name", g.ServicePrincipalName}} {
		switch {
		case p[1] == "":
		case key != "":
			return "", ""
		default:
			key, name = p[0], p[1]
		}
	}
	return key, name
}

func (c *call) grantsMissing() *answer {
	switch c.ws.grantState {
	case GrantsNotInitialised:
		return gone("tokens tokens does not exist")
	case GrantsDisabled:
		return fail(http.StatusNotFound, "FEATURE_DISABLED", "Token access control is not enabled in this workspace.")
	}
	return nil
}

func getGrants(c *call) *answer {
	return cmp.Or(c.grantsMissing(), ok(c.acl()))
}

// acl is the answer of GET, PUT and PATCH: admins first, then one entry per
// principal with all of its levels.
func (c *call) acl() obj {
	var all []Grant
	if c.ws.adminsEntry != AdminsAbsent {
		all = append(all, Grant{GroupName: "admins", Level: CanManage, Inherited: c.ws.adminsEntry == AdminsInherited})
	}
	all = visible(c, append(all, c.ws.grants...), func(g Grant) []string { return []string{g.UserName + g.GroupName + g.ServicePrincipalName} })
	entries := []obj{}
	at := map[string]int{}
	for _, g := range all {
		field, name := g.principal()
		key := strings.ToLower(field + " " + name)
		i, seen := at[key]
		if !seen {
			i = len(entries)
			at[key] = i
			entries = append(entries, obj{field: name})
			if p := c.directory.named(name); p != nil && g.GroupName == "" {
				entries[i]["display_name"] = p.DisplayName
			}
		}
		level := obj{"permission_level": g.Level, "inherited": g.Inherited}
		if g.Inherited {
			level["inherited_from_object"] = []string{"/authorization/"}
		}
		levels, _ := entries[i]["all_permissions"].([]obj)
		entries[i]["all_permissions"] = append(levels, level)
	}
	return obj{"object_id": "/authorization/tokens", "object_type": "tokens", "access_control_list": entries}
}

// writeGrants replaces the list, and then the admins' entry must be in it, or adds
// to it by PATCH, which cannot take away.
func writeGrants(c *call) *answer {
	if missing := c.grantsMissing(); missing != nil {
		return missing
	}
	var body struct {
		List []Grant `json:"access_control_list"`
	}
	if bad := c.decode(&body); bad != nil {
		return bad
	}
	withAdmins := false
	for i, g := range body.List {
		key, name := g.principal()
		p := c.directory.named(name)
		exists := p != nil && p.Service == (g.ServicePrincipalName != "")
		if g.GroupName != "" {
			exists = c.directory.groupIn(c.ws, name) != nil
		}
		switch {
		case key == "":
			return invalid("Exactly one of user_name, group_name and service_principal_name must be given.")
		case g.Level != CanUse && g.Level != CanManage:
			return invalid("%q is not a permission level of tokens.", g.Level)
		case g.Level == CanManage && !strings.EqualFold(g.GroupName, "admins"):
			return invalid("Only admins can be given CAN_MANAGE permission on tokens")
		case !exists:
			word := map[string]string{"user_name": "UserName", "group_name": "GroupName", "service_principal_name": "ServicePrincipalName"}[key]
			return gone("Principal: %s(%s) does not exist", word, name)
		}
		body.List[i].Inherited = false
		withAdmins = withAdmins || g.Level == CanManage
	}
	var before []Grant
	if c.request.Method == http.MethodPatch {
		before = c.ws.grants
	} else if !withAdmins {
		return invalid("Cannot change permissions for group 'admins' to None.")
	}
	c.ws.grants, c.ws.adminsEntry = addGrants(before, body.List), AdminsExplicit
	c.note("changeDbTokenAcl", map[string]string{})
	return ok(c.acl())
}

// addGrants adds each grant once. The admins' CAN_MANAGE is implied.
func addGrants(into, more []Grant) []Grant {
	grants := slices.Clone(into)
	for _, g := range more {
		key, name := g.principal()
		there := slices.ContainsFunc(grants, func(have Grant) bool {
			haveKey, haveName := have.principal()
			return have.Level == g.Level && haveKey == key && strings.EqualFold(haveName, name)
		})
		if !there && g.Level != CanManage {
			grants = append(grants, g)
		}
	}
	return grants
}

func grantLevels(c *call) *answer {
	return cmp.Or(c.grantsMissing(), ok(obj{"permission_levels": []obj{
		{"permission_level": CanUse, "description": "Can use tokens"},
		{"permission_level": CanManage, "description": "Can use and modify permissions on tokens"},
	}}))
}
