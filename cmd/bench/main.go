package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	var o options
	flag.StringVar(&o.patrol, "patrol", "bin/patrol", "the patrol to measure")
	flag.StringVar(&o.tools, "tools", "", "directory for opa and conftest, built when missing (default: the user's cache)")
	flag.IntVar(&o.tokens, "tokens", 100_000, "tokens in the workspace")
	flag.IntVar(&o.runs, "runs", 3, "runs of which the fastest counts")
	flag.BoolVar(&o.alone, "alone", false, "measure patrol alone, without opa and conftest")
	flag.IntVar(&o.days, "history", 0, "measure a history of so many daily snapshots instead; 365 take about half an hour")
	flag.BoolVar(&o.account, "account", false, "measure reading an account of many workspaces instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	patrol, tools  string
	tokens, runs   int
	days           int
	alone, account bool
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "patrol-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, options: o}
	if b.patrol, err = filepath.Abs(o.patrol); err != nil {
		return err
	}
	if o.days > 0 {
		return b.history(ctx)
	}
	if o.account {
		return b.fleet(ctx)
	}
	account, err := b.serve(ctx)
	if err != nil {
		return err
	}
	defer account.stop()
	if err := b.steps(ctx, account); err != nil {
		return err
	}
	if err := b.fleet(ctx); err != nil {
		return err
	}
	if o.alone {
		return nil
	}
	return b.compare(ctx, account)
}

// bench runs processes in one directory.
type bench struct {
	options
	dir string
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// toolsDir is where the rivals are kept between runs.
func (b *bench) toolsDir() (string, error) {
	if b.tools != "" {
		return filepath.Abs(b.tools)
	}
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "patrol-bench"), err
}
