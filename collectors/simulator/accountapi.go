package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// listWorkspaces answers a bare array, without wrapper or pages.
func listWorkspaces(c *call) *answer {
	rows := make([]obj, 0, len(c.workspaces))
	for _, ws := range shown(c, c.workspaces, func(ws *workspace) []string { return []string{ws.name, strconv.FormatInt(ws.id, 10)} }) {
		rows = append(rows, c.workspaceDoc(ws))
	}
	return ok(rows)
}

func getWorkspace(c *call) *answer {
	if ws := c.find(c.vars["workspace"]); ws != nil {
		return ok(c.workspaceDoc(ws))
	}
	return gone("Workspace %s does not exist", c.vars["workspace"])
}

func (c *call) workspaceDoc(ws *workspace) obj {
	status, message := "RUNNING", "Workspace is running."
	if ws.status != "" {
		status, message = ws.status, "Workspace is "+strings.ToLower(ws.status)+"."
	}
	doc := obj{
		"account_id": c.id, "workspace_id": c.int64(ws.id), "workspace_name": ws.name,
		"deployment_name": ws.deployment, "workspace_status": status,
		"workspace_status_message": message, "pricing_tier": "PREMIUM",
		"creation_time": c.int64(ws.created), "cloud": ws.cloud, "custom_tags": ws.labels,
	}
	switch ws.cloud {
	case "azure":
		doc["location"] = ws.region
		doc["azure_workspace_info"] = obj{
			"subscription_id": azureSubscription, "resource_group": "rg-" + ws.name,
		}
	case "gcp":
		doc["location"] = ws.region
	default:
		doc["aws_region"] = ws.region
	}
	return doc
}

// listManagedSecrets is the workspace's own door to the same list. Being a
// workspace admin is not enough for it.
func listManagedSecrets(c *call) *answer {
	if !c.who.principal.accountAdmin {
		return c.forbid("Only account admins and managers of the service principal may list its secrets.")
	}
	return listSecrets(c)
}

// listSecrets pages through the OAuth secrets of a service principal.
func listSecrets(c *call) *answer {
	id, err := strconv.ParseInt(c.vars["id"], 10, 64)
	p := c.directory.byID[id]
	if err != nil || p == nil || !p.service {
		return gone("Service principal %s does not exist", c.vars["id"])
	}
	query := c.request.URL.Query()
	rows := shown(c, c.secretDocs(p), func(row obj) []string { return []string{fmt.Sprint(row["id"])} })
	from, err := strconv.Atoi("0" + query.Get("page_token"))
	if err != nil || from > len(rows) {
		return invalid("page_token is not valid")
	}
	size, err := strconv.Atoi(query.Get("page_size"))
	if err != nil || size <= 0 {
		size = 100
	}
	to := min(from+size, len(rows))
	doc := obj{"secrets": append([]obj{}, rows[from:to]...)}
	if to < len(rows) {
		doc["next_page_token"] = strconv.Itoa(to)
	}
	return ok(doc)
}

// secretDocs are derived from the id: between none and three, the oldest of
// which never expires. A client that patrol signs in as has at least one.
func (c *call) secretDocs(p *principal) []obj {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/secrets/%d", c.opts.Seed, p.id))
	count := int(sum[0]) % 4
	if p.secret != "" {
		count = max(count, 1)
	}
	now := c.born.UTC().Truncate(time.Hour)
	rows := make([]obj, 0, count)
	for i := range count {
		age := time.Duration(30+150*i) * 24 * time.Hour
		created := now.Add(-age).Format(time.RFC3339)
		row := obj{
			"id": hex.EncodeToString(sum[8*i : 8*i+8]), "status": "ACTIVE",
			"scopes":      [][]string{{"sql", "unity-catalog:read"}, {}, {"all-apis"}}[i],
			"secret_hash": hex.EncodeToString(sum[16:]), "create_time": created, "update_time": created,
		}
		if i < 2 {
			row["expire_time"] = now.Add(-age + 2*365*24*time.Hour).Format(time.RFC3339)
		}
		rows = append(rows, row)
	}
	return rows
}
