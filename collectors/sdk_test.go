package collectors

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/databricks/databricks-sdk-go/config"
	"github.com/databricks/databricks-sdk-go/logger"

	"patrol/collectors/simulator"
	"patrol/engine"
)

// heard is a logger that wants everything, as somebody would set who debugs.
type heard struct {
	mu    sync.Mutex
	lines []string
}

func (*heard) Enabled(context.Context, logger.Level) bool { return true }

func (h *heard) note(_ context.Context, format string, values ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf(format, values...))
}

func (h *heard) Tracef(ctx context.Context, f string, v ...any) { h.note(ctx, f, v...) }
func (h *heard) Debugf(ctx context.Context, f string, v ...any) { h.note(ctx, f, v...) }
func (h *heard) Infof(ctx context.Context, f string, v ...any)  { h.note(ctx, f, v...) }
func (h *heard) Warnf(ctx context.Context, f string, v ...any)  { h.note(ctx, f, v...) }
func (h *heard) Errorf(ctx context.Context, f string, v ...any) { h.note(ctx, f, v...) }

// azureCommand is a directory with a command that stands in for the Azure CLI.
func azureCommand(t *testing.T) string {
	t.Helper()
	const script = "#!/bin/sh\necho '{\"accessToken\": \"none\", \"tokenType\": \"Bearer\", \"expiresOn\": \"2100-01-01 00:00:00.000000\"}'\n"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte(script), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	return dir
}

const listening = "PATROL_TEST_LISTENS"

// TestTheSDKSaysNothing, though all of its log is wanted and its headers too:
// each way to sign in, in a process of its own, because the SDK has one logger.
func TestTheSDKSaysNothing(t *testing.T) {
	account := simulator.New(simulator.Options{Seed: 1, Workspaces: 1, Tokens: 40})
	server := httptest.NewServer(account)
	t.Cleanup(server.Close)
	profile := Target{Profile: account.Workspaces()[0].Profile + "-oauth", ConfigFile: filepath.Join(t.TempDir(), "cfg")}
	id, secret := account.Credentials()
	ways := map[string]func() error{
		"check": func() error { return Check(t.Context(), []Target{profile}, Options{}) },
		"workspace": func() error {
			s, err := SignIn(t.Context(), profile, Options{})
			if err != nil {
				return err
			}
			return s.Close()
		},
		"account": func() error {
			t.Setenv("DATABRICKS_CLIENT_ID", id)
			t.Setenv("DATABRICKS_CLIENT_SECRET", secret)
			_, err := Discover(t.Context(), AccountTarget{Host: server.URL, AccountID: account.ID()}, Options{})
			return err
		},
		"azure": func() error {
			t.Setenv("PATH", azureCommand(t)+":/bin:/usr/bin")
			client, problem := AccountTarget{Azure: &AzureAccount{}}.signInAzure(t.Context(), Options{}.withDefaults(), nil)
			if problem == nil {
				problem = client.sign(t.Context(), &http.Request{Header: http.Header{}})
			}
			if problem != nil {
				return problem.error("azure")
			}
			return nil
		},
	}
	if way := os.Getenv(listening); way != "" {
		if err := os.WriteFile(profile.ConfigFile, []byte(account.ConfigFile(server.URL)), 0o600); err != nil {
			t.Fatal(err)
		}
		spy := &heard{}
		logger.DefaultLogger = spy
		if err := ways[way](); err != nil {
			t.Fatal(err)
		}
		if len(spy.lines) > 0 {
			t.Errorf("the SDK says %d lines, such as %q", len(spy.lines), spy.lines[len(spy.lines)-1])
		}
		return
	}
	for _, way := range engine.SortedKeys(ways) {
		t.Run(way, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheSDKSaysNothing$", "-test.v")
			cmd.Env = []string{
				listening + "=" + way, "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(),
				"DATABRICKS_DEBUG_HEADERS=true", "DATABRICKS_DEBUG_TRUNCATE_BYTES=100000",
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestTheSDKSaysNothing") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestDebugHeadersCannotBeSwitchedOn, nor checking certificates off: neither by
// the environment nor by a profile, however a target is named.
func TestDebugHeadersCannotBeSwitchedOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cfg")
	const bad = "host = https://workspace.example.com\ntoken = dapi-none\ndebug_headers = true\nskip_verify = true\n"
	if err := os.WriteFile(file, []byte("[DEFAULT]\n"+bad+"[named]\n"+bad), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]Target{
		"profile":    {Profile: "named", ConfigFile: file},
		"default":    {ConfigFile: file},
		"discovered": {Discovered: true, Profile: "named", ConfigFile: file, Host: "https://workspace.example.com", WorkspaceID: "1"},
		"account":    {Discovered: true, ConfigFile: file, Host: "https://workspace.example.com", WorkspaceID: "1"},
	} {
		for _, variable := range []string{"", "true", "1"} {
			t.Run(name+" "+variable, func(t *testing.T) {
				t.Setenv("DATABRICKS_DEBUG_HEADERS", variable)
				careless := &config.Config{Profile: target.Profile, ConfigFile: file, HostMetadataResolver: nobodyAsked}
				if err := careless.EnsureResolved(); err != nil || !careless.DebugHeaders || !careless.InsecureSkipVerify {
					t.Fatalf("the SDK alone does not switch them on: %v, %v, %v", careless.DebugHeaders, careless.InsecureSkipVerify, err)
				}
				cfg := &config.Config{Profile: target.Profile, ConfigFile: file, HostMetadataResolver: nobodyAsked, Loaders: loaders(target)}
				if err := cfg.EnsureResolved(); err != nil {
					t.Fatal(err)
				}
				if cfg.DebugHeaders || cfg.InsecureSkipVerify {
					t.Errorf("debug headers %v, certificates unchecked %v", cfg.DebugHeaders, cfg.InsecureSkipVerify)
				}
			})
		}
	}
}

func nobodyAsked(context.Context, string) (*config.HostMetadata, error) { return nil, nil }
