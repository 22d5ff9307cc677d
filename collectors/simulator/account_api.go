package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// listWorkspaces answers a bare array, without wrapper or pages.
func listWorkspaces(c *call) *answer {
	rows := make([]obj, 0, len(c.workspaces))
	for _, ws := range visible(c, c.workspaces, func(ws *workspace) []string { return []string{ws.Name, decimal(ws.ID)} }) {
		rows = append(rows, c.workspaceDoc(ws))
	}
	return ok(rows)
}

func getWorkspace(c *call) *answer {
	if ws := c.find(c.request.PathValue("workspace")); ws != nil {
		return ok(c.workspaceDoc(ws))
	}
	return gone("Workspace %s does not exist", c.request.PathValue("workspace"))
}

func (c *call) workspaceDoc(ws *workspace) obj {
	status, message := "RUNNING", "Workspace is running."
	if ws.status != "" {
		status, message = ws.status, "Workspace is "+strings.ToLower(ws.status)+"."
	}
	doc := obj{
		"account_id": c.id, "workspace_id": c.int64(ws.ID), "workspace_name": ws.Name,
		"deployment_name": ws.deployment, "workspace_status": status,
		"workspace_status_message": message, "pricing_tier": "PREMIUM",
		"creation_time": c.int64(ws.created), "cloud": ws.Cloud, "custom_tags": ws.Labels,
	}
	switch ws.Cloud {
	case "azure":
		doc["location"] = ws.region
		doc["azure_workspace_info"] = obj{
			"subscription_id": azureSubscription, "resource_group": "rg-" + ws.Name,
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

// service is the service principal that the path names, or the 404.
func (c *call) service() (*principal, *answer) {
	id := c.request.PathValue("id")
	for _, p := range c.directory.services {
		if decimal(p.ID) == id {
			return p, nil
		}
	}
	return nil, gone("Service principal %s does not exist", id)
}

// page is a page of rows, by page_token and the parameter for its size. A sparse
// list is left out where it is empty.
func page(c *call, key string, rows []obj, sizeParam string, sparse bool) *answer {
	query := c.request.URL.Query()
	rows = visible(c, rows, func(row obj) []string { return []string{fmt.Sprint(row["id"]), fmt.Sprint(row["uid"], row["name"])} })
	from, err := strconv.Atoi("0" + query.Get("page_token"))
	if err != nil || from > len(rows) {
		return invalid("page_token is not valid")
	}
	size, err := strconv.Atoi(query.Get(sizeParam))
	if err != nil || size <= 0 {
		size = 100
	}
	to := min(from+min(size, c.opts.MaxPage), len(rows))
	doc := obj{}
	if to > from || !sparse {
		doc[key] = append([]obj{}, rows[from:to]...)
	}
	if to < len(rows) {
		doc["next_page_token"] = strconv.Itoa(to)
	}
	return ok(doc)
}

// listSecrets are the OAuth secrets of a service principal. They are derived from
// its id: between none and three, the oldest of which never expires. A client that
// patrol signs in as has at least one.
func listSecrets(c *call) *answer {
	p, missing := c.service()
	if missing != nil {
		return missing
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/secrets/%d", c.opts.Seed, p.ID))
	count := int(sum[0]) % 4
	if p.secret != "" {
		count = max(count, 1)
	}
	now := c.born.Truncate(time.Hour)
	var rows []obj
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
	return page(c, "secrets", rows, "page_size", false)
}

// Azure stands in for what Azure itself serves beside Databricks: Entra ID,
// which issues tokens, and Resource Manager, which lists a subscription's
// workspaces.
const (
	azureSubscription = "00000000-0000-4000-8000-000000000001"
	databricksApp     = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d" // the resource that Databricks' tokens are for
	azurePage         = 2                                      // workspaces on a page: few, so that readers must follow the links
)

// Tenant is the directory of the account's service principals on Azure.
func (a *Account) Tenant() string { return uuid(stream(a.opts.Seed, "azure tenant")) }

// Subscription is where the account's workspaces on Azure are.
func (a *Account) Subscription() string { return azureSubscription }

// listAzureWorkspaces answers a page of the subscription's resource list. A workspace
// that is being made, or that could not be, has neither id nor address yet.
func listAzureWorkspaces(c *call) *answer {
	query := c.request.URL.Query()
	if query.Get("api-version") == "" {
		return azureError(http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	}
	var rows []obj
	for _, ws := range c.workspaces {
		if ws.Cloud != "azure" {
			continue
		}
		state, known := map[string]string{ // what Azure calls a status of the account API; it knows nothing of a ban
			"": "Succeeded", "RUNNING": "Succeeded", "BANNED": "Succeeded", "PROVISIONING": "Creating", "NOT_PROVISIONED": "Accepted", "CANCELLING": "Deleting",
		}[ws.status]
		if !known {
			state = ws.status[:1] + strings.ToLower(ws.status[1:])
		}
		group := "/subscriptions/" + azureSubscription + "/resourceGroups/"
		properties := obj{
			"provisioningState": state, "managedResourceGroupId": group + "managed-" + ws.Name,
			"parameters": obj{"enableNoPublicIp": obj{"type": "Bool", "value": true}},
		}
		if state != "Creating" && state != "Accepted" {
			properties["workspaceId"], properties["workspaceUrl"] = decimal(ws.ID), c.request.Host
		}
		rows = append(rows, obj{
			"id":   group + "rg-" + ws.Name + "/providers/Microsoft.Databricks/workspaces/" + ws.Name,
			"name": ws.Name, "type": "Microsoft.Databricks/workspaces", "location": ws.region,
			"sku": obj{"name": "premium"}, "tags": ws.Labels, "properties": properties,
		})
	}
	from, err := strconv.Atoi("0" + query.Get("$skiptoken"))
	if err != nil || from > len(rows) {
		return azureError(http.StatusBadRequest, "InvalidSkipToken", "The skip token is not valid.")
	}
	to := min(from+azurePage, len(rows))
	doc := obj{"value": rows[from:to]}
	if to < len(rows) {
		query.Set("$skiptoken", strconv.Itoa(to))
		doc["nextLink"] = c.base() + c.request.URL.Path + "?" + query.Encode()
	}
	return ok(doc)
}

func azureError(status int, code, message string) *answer {
	return jsonAnswer(status, "application/json", obj{"error": obj{"code": code, "message": message}})
}

func (c *call) federation(name string, owner int64, oidc obj) obj {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/federation/%d/%s", c.opts.Seed, owner, name))
	made := c.born.Add(-40 * 24 * time.Hour).Format(time.RFC3339)
	path := "accounts/" + c.id
	doc := obj{"uid": hex.EncodeToString(sum[:8]), "policy_id": name, "oidc_policy": oidc, "create_time": made, "update_time": made}
	if owner != 0 {
		path += "/servicePrincipals/" + decimal(owner)
		doc["service_principal_id"] = c.int64(owner)
	}
	doc["name"] = path + "/federationPolicies/" + name
	return doc
}

func listAccountFederation(c *call) *answer {
	return page(c, "policies", []obj{c.federation("workforce", 0, obj{
		"issuer": "https://login.example.com", "audiences": []string{"databricks"}, "subject_claim": "preferred_username",
	})}, "page_size", true)
}

// listFederation: every third service principal has a policy for a pipeline; of
// those every second admits any branch of its repository.
func listFederation(c *call) *answer {
	p, missing := c.service()
	if missing != nil {
		return missing
	}
	var rows []obj
	if sum := sha256.Sum256(fmt.Appendf(nil, "%d/pipelines/%d", c.opts.Seed, p.ID)); sum[0]%3 == 0 {
		subject := "repo:example-org/etl:environment:prod"
		if sum[1]%2 == 0 {
			subject = "repo:example-org/*"
		}
		rows = append(rows, c.federation("github", p.ID, obj{
			"issuer": "https://token.actions.githubusercontent.com", "audiences": []string{c.id}, "subject": subject,
		}))
	}
	return page(c, "policies", rows, "page_size", true)
}

func listCustomApps(c *call) *answer {
	app := func(id, name string, scopes []string, confidential bool, refreshDays int, single bool) obj {
		return obj{
			"integration_id": id, "client_id": id + "-client", "name": name, "confidential": confidential, "scopes": scopes,
			"redirect_urls": []string{"https://app.example.com/callback"}, "create_time": c.born.Format(time.RFC3339),
			"token_access_policy": obj{
				"access_token_ttl_in_minutes": 60, "refresh_token_ttl_in_minutes": refreshDays * 24 * 60,
				"enable_single_use_refresh_tokens": single,
			},
		}
	}
	return page(c, "apps", []obj{
		app("app-1", "Field reports", []string{"sql", "offline_access"}, true, 7, true),
		app("app-2", "Legacy sync", []string{"all-apis", "offline_access"}, false, 90, false),
	}, "page_size", true)
}

func listPublishedApps(c *call) *answer {
	return page(c, "apps", []obj{{
		"integration_id": "app-3", "app_id": "power-bi", "name": "Power BI",
		"token_access_policy": obj{"access_token_ttl_in_minutes": 60, "refresh_token_ttl_in_minutes": 7 * 24 * 60},
	}}, "page_size", true)
}

func metastoreSummary(c *call) *answer {
	return ok(obj{"metastore_id": "22222222-0000-4000-8000-000000000001", "name": "metastore", "owner": c.ws.admin.Name})
}

// listRecipients answers whom the caller may see: the metastore's admin all, anybody else its own.
func listRecipients(c *call) *answer {
	now := c.born.Truncate(time.Hour)
	token := func(id string, age, life int) []obj {
		row := obj{"id": id, "created_at": c.int64(now.AddDate(0, 0, -age).UnixMilli()), "activation_url": "https://share.example.com/activate?" + id}
		if life > 0 {
			row["expiration_time"] = c.int64(now.AddDate(0, 0, life-age).UnixMilli())
		}
		return []obj{row}
	}
	rows := []obj{
		{"name": "partner", "authentication_type": "TOKEN", "tokens": token("r1", 10, 60), "ip_access_list": obj{"allowed_ip_addresses": []string{"192.0.2.0/24"}}},
		{"name": "supplier", "authentication_type": "TOKEN", "tokens": token("r2", 300, 0)},
		{"name": "sister", "authentication_type": "DATABRICKS"},
	}
	if c.who.principal != c.ws.admin {
		rows = nil
	}
	return page(c, "recipients", rows, "max_results", true)
}
