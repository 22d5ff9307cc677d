package simulator

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

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
		if value == nil || !confValueAllowed(key, *value) {
			refused[key] = value
		}
	}
	if len(refused) > 0 {
		return fail(http.StatusBadRequest, "INVALID_REQUEST", "Some values are not allowed: %s", encode(refused))
	}
	for key, value := range values {
		c.ws.conf[key] = *value
	}
	return &answer{status: http.StatusNoContent, header: http.Header{}}
}

// confValueAllowed knows the few keys whose values are checked.
func confValueAllowed(key, value string) bool {
	switch key {
	case "enableIpAccessLists", "enableGp3", "enableTokensConfig":
		return strings.EqualFold(value, "true") || strings.EqualFold(value, "false")
	case "maxTokenLifetimeDays":
		days, err := strconv.Atoi(value)
		return err == nil && days >= 0 && days <= platformDays
	}
	return true
}
