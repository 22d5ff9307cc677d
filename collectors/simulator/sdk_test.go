package simulator_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/databricks/databricks-sdk-go/apierr"
	"github.com/databricks/databricks-sdk-go/client"
	"github.com/databricks/databricks-sdk-go/common/types/fieldmask"
	"github.com/databricks/databricks-sdk-go/config"
	"github.com/databricks/databricks-sdk-go/httpclient"
	"github.com/databricks/databricks-sdk-go/service/iam"
	"github.com/databricks/databricks-sdk-go/service/oauth2"
	"github.com/databricks/databricks-sdk-go/service/provisioning"
	"github.com/databricks/databricks-sdk-go/service/settings"

	"patrol/collectors/simulator"
)

// sdk is a client of the official SDK over a profile of the account's own
// configuration file, so that the file is tested along the way.
func (w *world) sdk(profile string) *client.DatabricksClient {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "databrickscfg")
	if err := os.WriteFile(file, []byte(w.ConfigFile(w.url)), 0o600); err != nil {
		w.t.Fatal(err)
	}
	c, err := client.New(&config.Config{Profile: profile, ConfigFile: file, Loaders: []config.Loader{config.ConfigFile}})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func TestSDKTokenManagement(t *testing.T) {
	for _, int64Strings := range []bool{false, true} {
		t.Run("strings="+strconv.FormatBool(int64Strings), func(t *testing.T) {
			w := newWorld(t, func(o *simulator.Options) { o.Int64Strings = int64Strings })
			ctx := context.Background()
			for i, ws := range w.ws {
				api := settings.NewTokenManagement(w.sdk(ws.Profile))
				rows, err := api.ListAll(ctx, settings.ListTokenManagementRequest{})
				if err != nil || len(rows) != 60 {
					t.Fatalf("%d tokens, %v", len(rows), err)
				}
				if rows[0].WorkspaceId != ws.ID {
					t.Errorf("workspace %d, want %d", rows[0].WorkspaceId, ws.ID)
				}
				want := w.firstToken(i, "endless")
				got, err := api.Get(ctx, settings.GetTokenManagementRequest{TokenId: want.ID})
				if err != nil || got.TokenInfo.ExpiryTime != -1 || got.TokenInfo.Comment != want.Comment || got.TokenInfo.OwnerId != want.OwnerID {
					t.Errorf("got %+v, %v", got, err)
				}
				sdkUpdatesAndDeletes(t, api, want.ID)
			}
		})
	}
}

func sdkUpdatesAndDeletes(t *testing.T, api *settings.TokenManagementAPI, id string) {
	t.Helper()
	ctx := context.Background()
	patched, err := api.UpdateTokenManagement(ctx, settings.UpdateTokenManagementRequest{
		TokenId: id, Token: settings.TokenInfo{Comment: "tidied", Scopes: []string{"sql"}},
		UpdateMask: *fieldmask.New([]string{"comment", "scopes"}),
	})
	if err != nil || patched.Comment != "tidied" || len(patched.Scopes) != 1 {
		t.Errorf("patched %+v, %v", patched, err)
	}
	if err := api.Delete(ctx, settings.DeleteTokenManagementRequest{TokenId: id}); err != nil {
		t.Error(err)
	}
	err = api.Delete(ctx, settings.DeleteTokenManagementRequest{TokenId: id})
	if !errors.Is(err, apierr.ErrResourceDoesNotExist) {
		t.Errorf("second delete: %v", err)
	}
}

func TestSDKViewerIsDenied(t *testing.T) {
	w := newWorld(t)
	api := settings.NewTokenManagement(w.sdk(w.ws[0].Profile + "-viewer"))
	_, err := api.ListAll(context.Background(), settings.ListTokenManagementRequest{})
	if !errors.Is(err, apierr.ErrPermissionDenied) || err.Error() != "Requesting user 'viewer@example.com' is not an admin." {
		t.Errorf("got %v", err)
	}
}

func TestSDKConfAndPermissions(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	c := w.sdk(w.ws[1].Profile)
	conf := settings.NewWorkspaceConf(c)
	values, err := conf.GetStatus(ctx, settings.GetStatusRequest{Keys: "maxTokenLifetimeDays,enableIpAccessLists,enableWebTerminal"})
	if err != nil || (*values)["maxTokenLifetimeDays"] != "90" || (*values)["enableIpAccessLists"] != "TRue" {
		t.Errorf("conf %v, %v", values, err)
	}
	if err := conf.SetStatus(ctx, settings.WorkspaceConf{"maxTokenLifetimeDays": "30"}); err != nil {
		t.Error(err)
	}
	if got := w.Conf(w.ws[1].Name)["maxTokenLifetimeDays"]; got != "30" {
		t.Errorf("stored %q", got)
	}
	tokens := settings.NewTokenManagement(c)
	acl, err := tokens.GetPermissions(ctx)
	if err != nil || len(acl.AccessControlList) != 3 || len(acl.AccessControlList[0].AllPermissions) != 2 {
		t.Errorf("acl %+v, %v", acl, err)
	}
	levels, err := tokens.GetPermissionLevels(ctx)
	if err != nil || len(levels.PermissionLevels) != 2 {
		t.Errorf("levels %+v, %v", levels, err)
	}
	generic, err := iam.NewPermissions(c).Get(ctx, iam.GetPermissionRequest{RequestObjectType: "authorization", RequestObjectId: "tokens"})
	if err != nil || generic.ObjectType != "tokens" {
		t.Errorf("generic %+v, %v", generic, err)
	}
}

func TestSDKDirectory(t *testing.T) {
	w := newWorld(t, func(o *simulator.Options) { o.MaxPage = 10 })
	ctx := context.Background()
	c := w.sdk(w.ws[0].Profile + "-oauth")
	users, err := iam.NewUsersV2(c).ListAll(ctx, iam.ListUsersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, u := range users {
		seen[u.Id] = true
	}
	if len(users) < 30 || len(seen) != len(users) {
		t.Errorf("%d users, %d distinct", len(users), len(seen))
	}
	services, err := iam.NewServicePrincipalsV2(c).ListAll(ctx, iam.ListServicePrincipalsRequest{})
	if err != nil || len(services) < 6 {
		t.Errorf("%d service principals, %v", len(services), err)
	}
	admins, err := iam.NewGroupsV2(c).ListAll(ctx, iam.ListGroupsRequest{Filter: `displayName eq "admins"`})
	if err != nil || len(admins) != 1 || admins[0].Meta.ResourceType != "WorkspaceGroup" {
		t.Errorf("admins %+v, %v", admins, err)
	}
	one, err := iam.NewUsersV2(c).Get(ctx, iam.GetUserRequest{Id: users[3].Id})
	if err != nil || one.UserName != users[3].UserName {
		t.Errorf("user %+v, %v", one, err)
	}
	counts := w.Counts()
	if n := counts["GET /api/2.0/preview/scim/v2/Users"]; n < 4 {
		t.Errorf("users came in %d pages", n)
	}
}

func TestSDKMe(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for _, ws := range w.ws {
		for profile, want := range map[string]string{
			ws.Profile: ws.Admin, ws.Profile + "-viewer": ws.Viewer, ws.Profile + "-oauth": ws.ClientID,
		} {
			c := w.sdk(profile)
			me, err := iam.NewCurrentUser(c).Me(ctx, iam.MeRequest{})
			if err != nil || me.UserName != want {
				t.Errorf("%s: %+v, %v", profile, me, err)
			}
			var org string
			err = doForOrg(c, "/api/2.0/preview/scim/v2/Me", &org)
			if err != nil || org != strconv.FormatInt(ws.ID, 10) {
				t.Errorf("%s: org %q, %v", profile, org, err)
			}
		}
	}
}

// doForOrg reads the workspace id as the SDK's CurrentWorkspaceID does.
func doForOrg(c *client.DatabricksClient, path string, org *string) error {
	cfg, err := config.HTTPClientConfigFromConfig(c.Config)
	if err != nil {
		return err
	}
	return httpclient.NewApiClient(cfg).Do(context.Background(), http.MethodGet, path, httpclient.WithResponseHeader("X-Databricks-Org-Id", org))
}

func TestSDKAccount(t *testing.T) {
	w := newWorld(t, func(o *simulator.Options) { o.Workspaces = 4 })
	ctx := context.Background()
	c := w.sdk("account")
	spaces, err := provisioning.NewWorkspaces(c).List(ctx)
	if err != nil || len(spaces) != 4 || spaces[0].WorkspaceId != w.ws[0].ID || spaces[1].Cloud != "aws" {
		t.Fatalf("workspaces %+v, %v", spaces, err)
	}
	users, err := iam.NewAccountUsersV2(c).ListAll(ctx, iam.ListAccountUsersRequest{})
	if err != nil || len(users) < 30 {
		t.Errorf("%d users, %v", len(users), err)
	}
	services, err := iam.NewAccountServicePrincipalsV2(c).ListAll(ctx, iam.ListAccountServicePrincipalsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, sp := range services {
		secrets, err := oauth2.NewServicePrincipalSecrets(c).ListAll(ctx, oauth2.ListServicePrincipalSecretsRequest{ServicePrincipalId: sp.Id, PageSize: 1})
		if err != nil {
			t.Fatal(err)
		}
		found += len(secrets)
	}
	if found < 3 {
		t.Errorf("%d secrets", found)
	}
}

func TestSDKRestrictWorkspaceAdmins(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	api := settings.NewRestrictWorkspaceAdmins(w.sdk(w.ws[0].Profile))
	got, err := api.Get(ctx, settings.GetRestrictWorkspaceAdminsSettingRequest{})
	if err != nil || got.RestrictWorkspaceAdmins.Status != settings.RestrictWorkspaceAdminsMessageStatusAllowAll {
		t.Fatalf("got %+v, %v", got, err)
	}
	update := settings.UpdateRestrictWorkspaceAdminsSettingRequest{
		AllowMissing: true, FieldMask: "restrict_workspace_admins.status",
		Setting: settings.RestrictWorkspaceAdminsSetting{
			RestrictWorkspaceAdmins: settings.RestrictWorkspaceAdminsMessage{
				Status: settings.RestrictWorkspaceAdminsMessageStatusRestrictTokensAndJobRunAs,
			},
		},
	}
	_, err = api.Update(ctx, update)
	var conflict *apierr.APIError
	if !errors.As(err, &conflict) || !errors.Is(err, apierr.ErrResourceConflict) {
		t.Fatalf("update without etag: %v", err)
	}
	if info := conflict.ErrorDetails().ErrorInfo; info == nil || info.Metadata["etag"] != got.Etag {
		t.Errorf("the conflict carries no fresh etag: %+v", info)
	}
	update.Setting.Etag = got.Etag
	next, err := api.Update(ctx, update)
	if err != nil || next.Etag == got.Etag || w.RestrictAdmins(w.ws[0].Name) != simulator.RestrictTokensAndJobRuns {
		t.Errorf("updated %+v, %v", next, err)
	}
}
