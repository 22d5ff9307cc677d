package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"patrol/engine"
)

const settingsPath = "/api/2.0/workspace-conf"

// Settings reads the workspace's configuration keys that bear on tokens and
// on security.
func (set) Settings() Collector {
	return Collector{
		Section: engine.SectionSettings,
		Doc:     "workspace configuration: whether tokens are enabled, how long they may live, and other security keys",
		Calls:   []string{"GET " + settingsPath},
		Rights:  "workspace admin",
		Scopes:  []string{"settings:read"},
		Order:   40,
		Read:    readSettings,
	}
}

// settingKeys are asked for by name: the platform has no call that lists them.
var settingKeys = []string{
	"customerApprovedWSLoginExpirationTime",
	"enable-X-Content-Type-Options",
	"enable-X-Frame-Options",
	"enable-X-XSS-Protection",
	"enableDbfsFileBrowser",
	"enableDcs",
	"enableDeprecatedClusterNamedInitScripts",
	"enableDeprecatedGlobalInitScripts",
	"enableEnforceImdsV2",
	"enableExportNotebook",
	"enableFileStoreEndpoint",
	"enableIpAccessLists",
	"enableJobViewAcls",
	"enableLibraryAndInitScriptOnSharedCluster",
	"enableNotebookTableClipboard",
	"enableProjectTypeInWorkspace",
	"enableProjectsAllowList",
	"enableResultsDownloading",
	"enableTokensConfig",
	"enableUploadDataUis",
	"enableVerboseAuditLogs",
	"enableWebTerminal",
	"enableWorkspaceFilesystem",
	"enforceClusterViewAcls",
	"enforceUserIsolation",
	"enforceWorkspaceViewAcls",
	"maxTokenLifetimeDays",
	"maxUserInactiveDays",
	"mlflowRunArtifactDownloadEnabled",
	"projectsAllowList",
	"rStudioUserDefaultHomeBase",
	"reposIpynbResultsExportPermissions",
	"storeInteractiveNotebookResultsInCustomerAccount",
}

// readSettings asks for all keys at once. Where one that cannot be read may have
// failed the call, the rest is read key by key, so that it hides no other.
func readSettings(ctx context.Context, c *Client) engine.Section {
	settings := engine.Settings{}
	problem := readKeys(ctx, c, settingKeys, settings)
	if problem != nil {
		if !slices.Contains([]string{reasonPermission, reasonUnexpected, reasonServerError, reasonNotFound, reasonBadBody}, problem.Reason) {
			return failed(problem)
		}
		problem = nil
		for _, key := range settingKeys {
			if settings[key].Problem == engine.Unsupported {
				continue
			}
			one := readKeys(ctx, c, []string{key}, settings)
			if one != nil && (one.Fatal() || one.Reason == reasonRateLimited || one.Reason == reasonTimeout) {
				return failed(one)
			}
			if one != nil {
				settings[key] = engine.Setting{Problem: one.Status, Detail: one.Detail}
				problem = cmp.Or(problem, one)
			}
		}
	}
	var unreadable []string
	read := 0
	for _, key := range engine.SortedKeys(settings) {
		switch settings[key].Problem {
		case "":
			read++
		case engine.Unsupported:
		default:
			unreadable = append(unreadable, key)
		}
	}
	if problem != nil && read == 0 { // all keys fail alike
		return failed(problem)
	}
	coverage := engine.Coverage{Status: engine.Complete, Count: read}
	if len(unreadable) > 0 {
		coverage.Status, coverage.Reason = engine.Partial, reasonKeys
		coverage.Detail = strings.Join(unreadable, ", ") + ": " + settings[unreadable[0]].Detail
		coverage.Hint = "Policies that need these keys are unknown; sign in as a workspace admin."
	}
	return engine.Section{Coverage: coverage, Document: document(settings)}
}

var (
	invalidKeyList = regexp.MustCompile(`Invalid keys:\s*(\[[^\]]*\])`)
	invalidKeyOne  = regexp.MustCompile(`([\w-]+) is an invalid config key`)
)

// readKeys asks for several keys at once. A key that the workspace does not
// know fails the whole call, which then is made again without it. A value as stored
// is told from one that was never set (null).
func readKeys(ctx context.Context, c *Client, keys []string, into engine.Settings) *Problem {
	answer := map[string]json.RawMessage{}
	for keys = slices.Clone(keys); len(keys) > 0; {
		clear(answer)
		_, problem := c.getJSON(ctx, settingsPath, url.Values{"keys": {strings.Join(keys, ",")}}, &answer)
		if problem == nil {
			break
		}
		var unknown []string
		if m := invalidKeyList.FindStringSubmatch(problem.Message); m != nil && json.Unmarshal([]byte(m[1]), &unknown) == nil {
			unknown = slices.DeleteFunc(unknown, func(key string) bool { return !slices.Contains(keys, key) })
		} else if m := invalidKeyOne.FindStringSubmatch(problem.Message); m != nil && slices.Contains(keys, m[1]) {
			unknown = m[1:]
		}
		if len(unknown) == 0 {
			return problem
		}
		for _, key := range unknown {
			into[key] = engine.Setting{Problem: engine.Unsupported, Detail: "this workspace does not know the key"}
		}
		keys = slices.DeleteFunc(keys, func(key string) bool { return slices.Contains(unknown, key) })
	}
	for _, key := range keys {
		raw, given := answer[key]
		text, ok := asText(raw)
		switch {
		case !given:
			into[key] = engine.Setting{Problem: engine.Failed, Detail: "the answer lacks the key"}
		case !ok:
			into[key] = engine.Setting{Problem: engine.Failed, Detail: "the value is neither text nor null: " + engine.SafeText(cut(raw))}
		case absent(raw):
			into[key] = engine.Setting{}
		default:
			into[key] = engine.Setting{Value: &text}
		}
	}
	return nil
}

const (
	ipAccessPath = "/api/2.0/ip-access-lists"
)

// IPAccessLists reads from which addresses the workspace can be reached.
func (set) IPAccessLists() Collector {
	return Collector{
		Section: engine.SectionIPAccessLists,
		Doc:     "lists of addresses from which the workspace may, or may not, be reached",
		Calls:   []string{"GET " + ipAccessPath},
		Rights:  "workspace admin; Premium plan or above",
		Scopes:  []string{"networking:read"},
		Order:   60,
		Read:    readIPAccessLists,
	}
}

// ipAccessList is one list in the section's document.
type ipAccessList struct {
	Addresses []string `json:"addresses"`
	Enabled   bool     `json:"enabled"`
	ID        string   `json:"id"`
	Label     string   `json:"label"`
	Type      string   `json:"type"` // ALLOW, BLOCK
}

func readIPAccessLists(ctx context.Context, c *Client) engine.Section {
	rows, _, problem := c.getList(ctx, ipAccessPath, nil, "ip_access_lists", false)
	if problem != nil {
		return failed(problem.hinted("", "IP access lists are not available in this workspace: they take the Premium plan or above."))
	}
	lists, t := []ipAccessList{}, tally{}
	for i, raw := range rows {
		r := newListRow(raw)
		list := ipAccessList{
			Addresses: append([]string{}, r.texts("ip_addresses")...), Enabled: r.isTrue("enabled"),
			ID: r.text("list_id"), Label: r.text("label"), Type: r.text("list_type"),
		}
		for _, text := range list.Addresses {
			_, notAnAddress := netip.ParseAddr(text)
			prefix, notARange := netip.ParsePrefix(text)
			r.must(notAnAddress == nil || notARange == nil && !prefix.Addr().Is4In6(), reasonBadType) // ::ffff:0.0.0.0/96 is every address of IPv4
		}
		r.must(list.Type != "" && !absent(r.member("enabled")), reasonMissing)
		r.must(list.Type == "ALLOW" || list.Type == "BLOCK", reasonBadType)
		count := r.number("address_count")
		r.must(count == nil || *count == int64(len(list.Addresses)), reasonContradictory)
		if r.reason != "" {
			t.add(r.reason, "list %d has no type, state or addresses that can be read", i+1)
			list.Enabled = false
		}
		lists = append(lists, list)
	}
	slices.SortFunc(lists, func(a, b ipAccessList) int { return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.ID, b.ID)) })
	return engine.Section{Coverage: t.coverage(len(lists)), Document: document(lists)}
}

const (
	restrictPath                       = "/api/2.0/settings/types/restrict_workspace_admins/names/default"
	sectionRestrict engine.SectionName = "restrict_workspace_admins"
)

// RestrictWorkspaceAdmins reads whether workspace admins may make tokens in
// the name of any service principal.
func (set) RestrictWorkspaceAdmins() Collector {
	return Collector{
		Section: sectionRestrict,
		Doc:     "whether workspace admins may make tokens for any service principal",
		Calls:   []string{"GET " + restrictPath},
		Rights:  "workspace admin",
		Scopes:  []string{"settings:read"},
		Order:   70,
		Read:    readRestrictWorkspaceAdmins,
	}
}

func readRestrictWorkspaceAdmins(ctx context.Context, c *Client) engine.Section {
	var answer struct {
		Setting *struct {
			Status     string `json:"status"`
			TagsDenied bool   `json:"disable_gov_tag_creation"`
		} `json:"restrict_workspace_admins"`
	}
	if _, problem := c.getJSON(ctx, restrictPath, nil, &answer); problem != nil {
		return failed(problem.hinted("",
			"This workspace does not have the setting restrict_workspace_admins: whether admins may make tokens for any service principal is not known."))
	}
	if answer.Setting == nil || answer.Setting.Status != "ALLOW_ALL" && answer.Setting.Status != "RESTRICT_TOKENS_AND_JOB_RUN_AS" {
		return failed(badBody("GET %s: the answer tells no status that patrol knows", restrictPath))
	}
	return engine.Section{
		Coverage: engine.Coverage{Status: engine.Complete, Count: 1},
		Document: document(map[string]any{"status": answer.Setting.Status, "disable_gov_tag_creation": answer.Setting.TagsDenied}),
	}
}
