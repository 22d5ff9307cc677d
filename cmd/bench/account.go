package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// account is a simulated account, served by a process of its own: a child that
// this one starts is told to have peaked no lower than this one did.
type account struct {
	process *exec.Cmd
	config  string
	profile profile
}

// profile is what the account's configuration says of its first workspace.
type profile struct{ name, host, token string }

func (b *bench) serve(ctx context.Context) (*account, error) {
	a := &account{config: b.path("databrickscfg")}
	a.process = exec.CommandContext(ctx, b.patrol, "simulate", "--listen", "127.0.0.1:0", "--workspaces", "1",
		"--tokens", fmt.Sprint(b.tokens), "--write-config", a.config)
	a.process.Cancel = func() error { return a.process.Process.Signal(os.Interrupt) }
	if err := a.process.Start(); err != nil {
		return nil, err
	}
	var err error
	if a.profile, err = a.ready(ctx); err != nil {
		a.stop()
		return nil, err
	}
	return a, nil
}

func (a *account) stop() {
	_ = a.process.Process.Signal(os.Interrupt)
	_ = a.process.Wait() // it ends by the signal
}

// ready waits until the account has written how to sign in.
func (a *account) ready(ctx context.Context) (profile, error) {
	for range 600 {
		text, err := os.ReadFile(a.config)
		if err == nil {
			return readProfile(string(text))
		}
		select {
		case <-ctx.Done():
			return profile{}, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return profile{}, errors.New("the simulated account does not start")
}

func readProfile(text string) (p profile, err error) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key, value = strings.TrimSpace(key), strings.TrimSpace(value); {
		case strings.HasPrefix(key, "[") && p.name != "":
			return p, nil
		case strings.HasPrefix(key, "["):
			p.name = strings.Trim(key, "[]")
		case key == "host":
			p.host = value
		case key == "token":
			p.token = value
		}
	}
	return p, errors.New("the account's configuration has no second profile")
}

// dump saves the token list as the Databricks CLI prints it.
func (a *account) dump(ctx context.Context, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.profile.host+"/api/2.0/token-management/tokens", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+a.profile.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("list tokens: %s", answer.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, answer.Body)
	return errors.Join(err, file.Close())
}
