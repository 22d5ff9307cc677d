package collectors

import (
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"

	"patrol/engine"
)

const (
	azureProvider   = "/providers/Microsoft.Databricks/workspaces"
	azureAPIVersion = "2018-04-01" // the oldest, which every cloud of Azure has
	azurePagesMost  = 1000         // of a subscription, which holds hundreds of workspaces
	succeeded       = "Succeeded"  // the state of a resource that is as it was asked for
)

// list reads the workspaces of a subscription, page by page.
func (c *azureClient) list(ctx context.Context, subscription string) ([]AccountWorkspace, *Problem) {
	path, query := "/subscriptions/"+subscription+azureProvider, url.Values{"api-version": {azureAPIVersion}}
	var listed []AccountWorkspace
	seen := map[string]bool{}
	for len(seen) < azurePagesMost {
		var page struct {
			Value *[]json.RawMessage `json:"value"`
			Next  string             `json:"nextLink"`
		}
		if _, problem := c.getJSON(ctx, path, query, &page, "nextLink"); problem != nil {
			return nil, forAzure(problem, subscription)
		}
		if page.Value == nil {
			return nil, badBody("GET %s: the answer has no value", path)
		}
		for i, raw := range *page.Value {
			w, wrong := c.workspace(raw)
			if wrong != "" {
				return nil, badBody("GET %s: page %d, row %d: %s", path, len(seen)+1, i+1, wrong)
			}
			listed = append(listed, w)
		}
		if page.Next == "" {
			return listed, nil
		}
		if seen[page.Next] {
			break
		}
		seen[page.Next] = true
		var ok bool
		if path, query, ok = c.follow(page.Next); !ok {
			return nil, badBody("GET %s: the next page is not on %s: %s", path, c.base.Host, c.scrub.excerpt(page.Next))
		}
	}
	return nil, badBody("GET %s: the pages do not end", path)
}

// follow is where a link leads, if that is the host that gave it: the
// credential goes there.
func (c *azureClient) follow(link string) (path string, query url.Values, ok bool) {
	to, err := url.Parse(link)
	if err != nil || to.User != nil || to.Scheme != c.base.Scheme || !strings.EqualFold(withPort(to), withPort(c.base)) {
		return link, nil, false
	}
	return to.EscapedPath(), to.Query(), true
}

// withPort is the host with its port, the usual one included.
func withPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Hostname() + ":" + port
}

// forAzure turns a problem of a workspace's API into one of Azure.
func forAzure(p *Problem, subscription string) *Problem {
	told := *p
	switch p.Reason {
	case reasonPermission:
		told.Hint = "Give the principal the role Reader on subscription " + subscription + "."
	case reasonNotFound:
		told.Hint = "Check the id of subscription " + subscription + ", and that the tenant is the one that it belongs to."
	case reasonUnauthenticated:
		told.Hint = "Check that the tenant is the one that subscription " + subscription + " belongs to, or sign in again."
	}
	return &told
}

// workspace reads a row; wrong says why it cannot be.
func (c *azureClient) workspace(raw json.RawMessage) (w AccountWorkspace, wrong string) {
	row, ok := parseObject(raw)
	if !ok {
		return w, "is no object"
	}
	properties, ok := parseObject(row.members["properties"])
	if !ok {
		return w, "has no properties"
	}
	var id, number, address string
	for _, text := range []struct {
		of   object
		key  string
		into *string
	}{
		{row, "id", &id}, {row, "name", &w.Name}, {properties, "provisioningState", &w.Status},
		{properties, "workspaceId", &number}, {properties, "workspaceUrl", &address},
	} {
		if *text.into, ok = asText(text.of.members[text.key]); !ok {
			return w, text.key + " is no text"
		}
	}
	if w.Tags, ok = asTags(row.members["tags"]); !ok {
		return w, "tags are no texts"
	}
	if id == "" || w.Name == "" || w.Status == "" {
		return w, "lacks id, name or provisioningState"
	}
	if w.ID, ok = asID(json.RawMessage(number)); !ok {
		return w, "workspaceId is no number"
	}
	w.Cloud, w.azure = "azure", c.how
	if w.ID == "" { // one that is being made, or could not be, has none
		w.ID = strings.ToLower(id)
		return w, ""
	}
	w.Host, w.Routed = c.workspaceURL(address)
	return w, ""
}

// azureName is the shape of the first labels of a workspace's host on Azure.
var azureName = regexp.MustCompile(`^adb-[0-9]{1,20}\.[0-9]{1,3}$`)

// workspaceURL is where a workspace answers. The address decides where the
// credential goes: it must be one of the cloud's Databricks domain. A simulated
// account lists its own.
func (c *azureClient) workspaceURL(address string) (host string, routed bool) {
	address = strings.ToLower(address)
	if c.target.Endpoint != "" && address == c.base.Host {
		return c.base.String(), true
	}
	name, inZone := strings.CutSuffix(address, c.zone)
	if !inZone || !azureName.MatchString(name) {
		return "", false
	}
	return "https://" + address, false
}

// azureReason is why a workspace that Azure lists cannot be asked; "" when it can.
func azureReason(w AccountWorkspace) string {
	switch {
	case w.Status != succeeded:
		return "Azure lists it as " + engine.SafeText(w.Status)
	case w.Host == "":
		return "Azure does not tell a usable address"
	}
	return ""
}
