package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// steps measures each step of an audit, the audit in one go, and what it cannot
// go below.
func (b *bench) steps(ctx context.Context, a *account) error {
	header(fmt.Sprintf("%d tokens, all policies", b.tokens))
	costs := map[string]cost{}
	env := []string{"DATABRICKS_CONFIG_FILE=" + a.config}
	for _, step := range []struct {
		name  string
		args  []string
		fresh string // database that is to be made anew
	}{
		{"start, policies compiled", []string{"policies", "list"}, ""},
		{"collect", []string{"collect", "--profile", a.profile.name, "-q"}, "patrol.db"},
		{"evaluate", []string{"evaluate", "--fail-on", "none", "-q"}, ""},
		{"evaluate --no-prefilter", []string{"evaluate", "--fail-on", "none", "-q", "--no-prefilter"}, ""},
		{"report csv", []string{"report", "--format", "csv", "-q"}, ""},
		{"report json", []string{"report", "--format", "json", "-q"}, ""},
		{"report xlsx", []string{"report", "--format", "xlsx", "-q"}, ""},
		{"audit, three formats", []string{"audit", "--profile", a.profile.name, "--fail-on", "none", "-q", "--db", "audit.db"}, "audit.db"},
	} {
		prepare := nothing
		if step.fresh != "" {
			prepare = func() error { return b.remove(step.fresh) }
		}
		c, err := b.best(ctx, prepare, job{binary: b.patrol, args: step.args, env: env})
		if err != nil {
			return err
		}
		c.print(step.name)
		costs[step.name] = c
	}
	floor, err := b.floors(ctx)
	if err != nil {
		return err
	}
	evaluate := costs["evaluate"]
	fmt.Printf("\nEvaluation takes %.1f times the wall and %.1f times the processor time of both floors.\n",
		evaluate.wall.Seconds()/floor.wall.Seconds(), evaluate.cpu.Seconds()/floor.cpu.Seconds())
	return nil
}

// remove removes a database with what SQLite keeps beside it.
func (b *bench) remove(name string) error {
	files, err := filepath.Glob(b.path(name) + "*")
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}
