package collectors

import (
	"context"
	"encoding/json"
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
	if problem != nil && slices.Contains([]string{reasonPermission, reasonUnexpected, reasonServerError, reasonNotFound, reasonBadBody}, problem.Reason) {
		var first *Problem
		read := 0
		for _, key := range settingKeys {
			if settings[key].Problem == engine.Unsupported {
				continue
			}
			problem := readKeys(ctx, c, []string{key}, settings)
			switch {
			case problem == nil:
				read++
			case problem.Fatal(), problem.Reason == reasonRateLimited, problem.Reason == reasonTimeout:
				return failed(problem)
			default:
				settings[key] = engine.Setting{Problem: problem.Status, Detail: problem.Detail}
				if first == nil {
					first = problem
				}
			}
		}
		if problem = nil; read == 0 { // all keys fail alike
			problem = first
		}
	}
	if problem != nil {
		return failed(problem)
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
