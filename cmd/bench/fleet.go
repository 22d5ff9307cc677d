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
// same each time. A first run, which has the account make its tokens, does not count.
func (b *bench) fleet(ctx context.Context) error {
	a, err := b.serveFleet(ctx)
	if err != nil {
		return err
	}
	defer a.stop()
	if _, err := b.readFleet(ctx, a, fleetParallel); err != nil {
		return err
	}
	whole, err := b.fastestFleet(ctx, a)
	if err != nil {
		return err
	}
	sequential, err := b.readFleet(ctx, a, 1)
	if err != nil {
		return err
	}
	if err := a.listedOnce(ctx, fleetWorkspaces*(b.fleetRuns()+2)); err != nil {
		return err
	}
	header(fmt.Sprintf("account of %d workspaces with %d tokens, %s latency", fleetWorkspaces, fleetTokens, fleetLatency))
	whole.print(fmt.Sprintf("collect, %d at once", fleetParallel))
	sequential.print("collect, 1 at once")
	fmt.Printf("\nReading %d at once is %.1f times as fast as one after the other; no call was refused for its rate.\n",
		fleetParallel, sequential.wall.Seconds()/whole.wall.Seconds())
	return nil
}

func (b *bench) fleetRuns() int { return max(b.runs, 1) }

func (b *bench) fastestFleet(ctx context.Context, a *account) (fastest cost, err error) {
	for i := range b.fleetRuns() {
		c, err := b.readFleet(ctx, a, fleetParallel)
		if err != nil {
			return c, err
		}
		if i == 0 || c.wall < fastest.wall {
			fastest = c
		}
	}
	return fastest, nil
}

// serveFleet starts the account in a process of its own.
func (b *bench) serveFleet(ctx context.Context) (*account, error) {
	a := &account{config: b.path("fleet")}
	a.process = exec.CommandContext(ctx, b.patrol, "simulate", "--listen", "127.0.0.1:0", "--workspaces", fmt.Sprint(fleetWorkspaces),
		"--tokens", fmt.Sprint(fleetTokens), "--latency", fleetLatency.String(), "--rate-limit", fmt.Sprint(fleetRate), "--write-config", a.config)
	a.process.Cancel = func() error { return a.process.Process.Signal(os.Interrupt) }
	if err := a.process.Start(); err != nil {
		return nil, err
	}
	var err error
	if a.profile, err = a.ready(ctx); err == nil {
		err = a.keepAccountOnly()
	}
	if err != nil {
		a.stop()
		return nil, err
	}
	return a, nil
}

// readFleet collects the account into a new database.
func (b *bench) readFleet(ctx context.Context, a *account, parallel int) (c cost, err error) {
	if err := b.remove("fleet.db"); err != nil {
		return c, err
	}
	args := []string{"collect", "--account", "account", "--parallel", fmt.Sprint(parallel), "--db", "fleet.db", "-q"}
	// Some simulated workspaces have had no token permission yet, which is exit code 4.
	return b.measure(ctx, job{binary: b.patrol, args: args, env: []string{"DATABRICKS_CONFIG_FILE=" + a.config}, found: 4})
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

// listedOnce wants so many token lists to have been asked for: a call that is
// refused for its rate is made again.
func (a *account) listedOnce(ctx context.Context, lists int) error {
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
	if n := told.Counts["GET /api/2.0/token-management/tokens"]; n != lists {
		return fmt.Errorf("%d calls for %d lists of tokens: some were refused, or not made", n, lists)
	}
	return nil
}
