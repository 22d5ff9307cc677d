package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// The account that fleet reads: its size, how long each answer takes, and the
// limit of the Token Management API.
const (
	fleetWorkspaces = 200
	fleetTokens     = 500
	fleetLatency    = 50 * time.Millisecond
	fleetRate       = 40 // calls per second and workspace
	fleetParallel   = 64
)

// fleet measures reading a whole account: some workspaces at once, the fastest
// of the runs, against one after the other, which is made of waiting and is the
// same each time.
func (b *bench) fleet(ctx context.Context) error {
	whole, err := b.fastestFleet(ctx)
	if err != nil {
		return err
	}
	sequential, err := b.readFleet(ctx, 1)
	if err != nil {
		return err
	}
	header(fmt.Sprintf("account of %d workspaces with %d tokens, %s latency", fleetWorkspaces, fleetTokens, fleetLatency))
	whole.print(fmt.Sprintf("collect, %d at once", fleetParallel))
	sequential.print("collect, 1 at once")
	fmt.Printf("\nReading %d at once is %.1f times as fast as one after the other; no call was refused for its rate.\n",
		fleetParallel, sequential.wall.Seconds()/whole.wall.Seconds())
	return nil
}

func (b *bench) fastestFleet(ctx context.Context) (fastest cost, err error) {
	for i := range max(b.runs, 1) {
		c, err := b.readFleet(ctx, fleetParallel)
		if err != nil {
			return c, err
		}
		if i == 0 || c.wall < fastest.wall {
			fastest = c
		}
	}
	return fastest, nil
}

// readFleet collects an account, served by a process of its own, and wants no 429.
func (b *bench) readFleet(ctx context.Context, parallel int) (c cost, err error) {
	if err := b.remove("fleet"); err != nil {
		return c, err
	}
	a := &account{config: b.path("fleet")}
	a.process = exec.CommandContext(ctx, b.patrol, "simulate", "--listen", "127.0.0.1:0", "--workspaces", fmt.Sprint(fleetWorkspaces),
		"--tokens", fmt.Sprint(fleetTokens), "--latency", fleetLatency.String(), "--rate-limit", fmt.Sprint(fleetRate), "--write-config", a.config)
	a.process.Cancel = func() error { return a.process.Process.Signal(os.Interrupt) }
	if err := a.process.Start(); err != nil {
		return c, err
	}
	defer a.stop()
	if a.profile, err = a.ready(ctx); err != nil {
		return c, err
	}
	if err := a.keepAccountOnly(); err != nil {
		return c, err
	}
	args := []string{"collect", "--account", "account", "--parallel", fmt.Sprint(parallel), "--db", "fleet.db", "-q"}
	// Some simulated workspaces have had no token permission yet, which is exit code 4.
	c, err = b.measure(ctx, job{binary: b.patrol, args: args, env: []string{"DATABRICKS_CONFIG_FILE=" + a.config}, found: 4})
	if err != nil {
		return c, err
	}
	return c, a.listedOnce(ctx, fleetWorkspaces)
}

// keepAccountOnly takes the profiles of single workspaces out of the
// configuration: who reads an account has one profile.
func (a *account) keepAccountOnly() error {
	text, err := os.ReadFile(a.config)
	if err != nil {
		return err
	}
	_, account, found := strings.Cut(string(text), "[account]")
	if !found {
		return errors.New("the account's configuration has no profile for the account")
	}
	account, _, _ = strings.Cut(account, "[")
	return os.WriteFile(a.config, []byte("[account]"+account), 0o600)
}

// listedOnce wants each token list to have been asked for once: a call that is
// refused for its rate is made again.
func (a *account) listedOnce(ctx context.Context, workspaces int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.profile.host+"/_sim/requests?path=/none", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var told struct {
		Counts map[string]int `json:"counts"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&told); err != nil {
		return err
	}
	if n := told.Counts["GET /api/2.0/token-management/tokens"]; n != workspaces {
		return fmt.Errorf("%d calls for the tokens of %d workspaces: some were refused, or not made", n, workspaces)
	}
	return nil
}
