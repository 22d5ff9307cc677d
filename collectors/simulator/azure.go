package simulator

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

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

// issueAzure is Entra's client-credentials grant. A token is good for the
// resource that it was issued for, and for nothing else.
func issueAzure(c *call) *answer {
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return oauthError(http.StatusBadRequest, "invalid_request", "AADSTS900144: the form cannot be parsed")
	}
	resource := form.Get("resource")
	management := resource == c.base()+"/"
	switch p := c.oauthClient(form); {
	case c.vars["tenant"] != c.Tenant():
		return oauthError(http.StatusBadRequest, "invalid_request", "AADSTS90002: Tenant '"+c.vars["tenant"]+"' not found.")
	case p == nil:
		return oauthError(http.StatusUnauthorized, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
	case !management && resource != databricksApp:
		return oauthError(http.StatusBadRequest, "invalid_resource", "AADSTS500011: The resource principal named "+resource+" was not found.")
	default:
		bearer := c.mint("sim-azure-")
		c.forgetSessions()
		c.sessions[bearer] = session{principal: p, ws: c.homeOf(p), management: management, expires: time.Now().Add(sessionLife)}
		seconds := strconv.Itoa(int(sessionLife / time.Second))
		return ok(obj{
			"token_type": "Bearer", "expires_in": seconds, "resource": resource, "access_token": bearer,
			"expires_on": strconv.FormatInt(time.Now().Add(sessionLife).Unix(), 10),
		})
	}
}

// listAzureWorkspaces answers a page of the subscription's resource list.
func listAzureWorkspaces(c *call) *answer {
	query := c.request.URL.Query()
	if query.Get("api-version") == "" {
		return azureError(http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	}
	var rows []obj
	for _, ws := range c.workspaces {
		if ws.cloud == "azure" {
			rows = append(rows, c.azureDoc(ws))
		}
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

// azureDoc is a workspace as a resource. One that is being made, or that could
// not be, has neither id nor address yet.
func (c *call) azureDoc(ws *workspace) obj {
	state := provisioningState(ws.status)
	group := "/subscriptions/" + azureSubscription + "/resourceGroups/"
	properties := obj{
		"provisioningState": state, "managedResourceGroupId": group + "managed-" + ws.name,
		"parameters": obj{"enableNoPublicIp": obj{"type": "Bool", "value": true}},
	}
	if state != "Creating" && state != "Accepted" {
		properties["workspaceId"], properties["workspaceUrl"] = strconv.FormatInt(ws.id, 10), c.request.Host
	}
	return obj{
		"id":   group + "rg-" + ws.name + "/providers/Microsoft.Databricks/workspaces/" + ws.name,
		"name": ws.name, "type": "Microsoft.Databricks/workspaces", "location": ws.region,
		"sku": obj{"name": "premium"}, "tags": ws.labels, "properties": properties,
	}
}

// provisioningState is what Azure calls a status of the account API.
func provisioningState(status string) string {
	switch status {
	case "", "RUNNING", "BANNED": // Azure knows nothing of a ban
		return "Succeeded"
	case "PROVISIONING":
		return "Creating"
	case "NOT_PROVISIONED":
		return "Accepted"
	case "CANCELLING":
		return "Deleting"
	}
	return status[:1] + strings.ToLower(status[1:])
}

// refuseAzure checks a call of Resource Manager; the lock is held.
func (c *call) refuseAzure() *answer {
	switch {
	case !c.who.management:
		return azureError(http.StatusUnauthorized, "InvalidAuthenticationToken", "The access token is invalid.")
	case !strings.EqualFold(c.vars["subscription"], azureSubscription):
		return azureError(http.StatusNotFound, "SubscriptionNotFound", fmt.Sprintf("The subscription '%s' could not be found.", c.vars["subscription"]))
	}
	return nil
}

func azureError(status int, code, message string) *answer {
	return jsonAnswer(status, "application/json", obj{"error": obj{"code": code, "message": message}})
}
