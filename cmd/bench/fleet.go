package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
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

// fleet measures reading a whole account: some workspaces at once against one
// after the other. The sequential time is that of the first tenth, ten times:
// it is made of waiting, which is the same in every workspace.
func (b *bench) fleet(ctx context.Context) error {
	whole, err := b.readFleet(ctx, fleetWorkspaces, fleetParallel)
	if err != nil {
		return err
	}
	const part = 10
	tenth, err := b.readFleet(ctx, fleetWorkspaces/part, 1)
	if err != nil {
		return err
	}
	header(fmt.Sprintf("account of %d workspaces with %d tokens, %s latency", fleetWorkspaces, fleetTokens, fleetLatency))
	whole.print(fmt.Sprintf("collect, %d at once", fleetParallel))
	tenth.print(fmt.Sprintf("collect, 1 at once, %d of them", fleetWorkspaces/part))
	fmt.Printf("\nReading %d at once is %.1f times as fast as one after the other; no call was refused for its rate.\n",
		fleetParallel, part*tenth.wall.Seconds()/whole.wall.Seconds())
	return nil
}

// readFleet collects an account with that many workspaces and wants no 429.
func (b *bench) readFleet(ctx context.Context, workspaces, parallel int) (c cost, err error) {
	config := b.path(fmt.Sprintf("fleet-%d", workspaces))
	serve := exec.CommandContext(ctx, b.patrol, "simulate", "--listen", "127.0.0.1:0", "--workspaces", fmt.Sprint(workspaces),
		"--tokens", fmt.Sprint(fleetTokens), "--latency", fleetLatency.String(), "--rate-limit", fmt.Sprint(fleetRate), "--write-config", config)
	serve.Cancel = func() error { return serve.Process.Signal(os.Interrupt) }
	if err := serve.Start(); err != nil {
		return c, err
	}
	a := &account{process: serve, config: config}
	defer a.stop()
	if a.profile, err = a.ready(ctx); err != nil {
		return c, err
	}
	db := fmt.Sprintf("fleet-%d.db", workspaces)
	args := []string{"collect", "--account", "account", "--parallel", fmt.Sprint(parallel), "--db", db, "-q"}
	// Some simulated workspaces have had no token permission yet, which is exit code 4.
	c, err = b.measure(ctx, job{binary: b.patrol, args: args, env: []string{"DATABRICKS_CONFIG_FILE=" + config}, found: 4})
	if err != nil {
		return c, err
	}
	return c, a.listedOnce(ctx, workspaces)
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
