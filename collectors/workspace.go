package collectors

import (
	"cmp"
	"context"
	"net/url"
	"regexp"
	"strings"
	"time"

	"patrol/engine"
)

const (
	mePath       = "/api/2.0/preview/scim/v2/Me"
	metadataPath = "/.well-known/databricks-config"
)

// Workspace tells which workspace it is and as whom it is read.
func (set) Workspace() Collector {
	return Collector{
		Section: engine.SectionWorkspace,
		Doc:     "identity of the workspace and of the caller",
		Calls:   []string{"GET " + metadataPath, "GET " + mePath},
		Rights:  "any user of the workspace",
		Scopes:  []string{"scim:read"},
		Order:   10,
		Read:    readWorkspace,
	}
}

// Caller is whom the credential of a session belongs to.
type Caller struct {
	Admin       bool        `json:"admin"`
	AuthType    string      `json:"auth_type"` // as the Databricks tools name it
	DisplayName string      `json:"display_name"`
	ID          string      `json:"id"`
	Kind        engine.Kind `json:"kind"`
	Name        string      `json:"name"`
	// Scopes of the credential: nil where nobody tells, as of a token.
	Scopes []string `json:"scopes,omitempty"`
	// TokenID is what the id of the token would be that this session signs in
	// with, if the platform derives ids as it seems to; "" without a token.
	TokenID string `json:"-"`

	workspaceID string
	groups      []string
}

// uuid is the shape of an application id, by which a service principal is known, and
// of a subscription of Azure.
var uuid = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// whoAmI asks once per session; it also proves the credential.
func (c *Client) whoAmI(ctx context.Context) (Caller, *Problem) {
	var answer struct {
		ID          string `json:"id"`
		UserName    string `json:"userName"`
		Application string `json:"applicationId"`
		DisplayName string `json:"displayName"`
		Groups      []struct {
			Display string `json:"display"`
		} `json:"groups"`
	}
	header, problem := c.getJSON(ctx, mePath, nil, &answer)
	if problem != nil {
		return Caller{}, problem
	}
	if answer.ID == "" {
		return Caller{}, implausible(reasonMissingID, "GET %s: the answer names nobody", mePath)
	}
	me := Caller{
		AuthType: c.session.authType, Scopes: c.session.scopes, ID: answer.ID, Name: cmp.Or(answer.Application, answer.UserName),
		DisplayName: answer.DisplayName, Kind: engine.User, workspaceID: engine.Response{Header: header}.WorkspaceID(),
	}
	if uuid.MatchString(me.Name) {
		me.Kind = engine.ServicePrincipal
	}
	for _, group := range answer.Groups {
		me.groups = append(me.groups, group.Display)
		me.Admin = me.Admin || group.Display == adminsGroup
	}
	return me, nil
}

func readWorkspace(_ context.Context, c *Client) engine.Section {
	if c.session.meFault != nil {
		return failed(c.session.meFault)
	}
	workspace := c.identity()
	told := map[string]any{"caller": c.session.me, "cloud": workspace.Cloud, "host": workspace.Host, "workspace_id": workspace.ID}
	c.session.mu.Lock()
	hours := int(c.session.skew / time.Hour) // by how many whole ones our clock is ahead, or behind
	c.session.mu.Unlock()
	if hours != 0 {
		told[engine.ClockHoursOff] = hours
	}
	return engine.Section{Coverage: engine.Coverage{Status: engine.Complete, Count: 1}, Document: document(told)}
}

// identity is what is known of the workspace so far.
func (c *Client) identity() engine.Workspace {
	return engine.Workspace{
		ID:    cmp.Or(c.session.me.workspaceID, c.session.metaID),
		Name:  c.name,
		Host:  c.base.String(),
		Cloud: cmp.Or(c.session.cloud, cloudOf(c.base)),
	}
}

// cloudOf tells the cloud by the host's domain; "" when it does not tell.
func cloudOf(host *url.URL) string {
	for _, known := range []struct{ suffix, cloud string }{
		{".azuredatabricks.net", "azure"}, {".databricks.azure.us", "azure"}, {".databricks.azure.cn", "azure"},
		{".gcp.databricks.com", "gcp"},
		{".cloud.databricks.com", "aws"}, {".cloud.databricks.us", "aws"}, {".cloud.databricks.mil", "aws"},
	} {
		if strings.HasSuffix(host.Hostname(), known.suffix) {
			return known.cloud
		}
	}
	return ""
}
