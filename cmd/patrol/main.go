// Command patrol audits the personal access tokens of Databricks workspaces
// against policies written in Rego.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(start()) }

// start is main with deferred functions that run. The first signal ends what is
// under way in good order, the second at once.
func start() int {
	if err := harden(); err != nil {
		fmt.Fprintln(os.Stderr, "harden: core dumps stay on:", err)
		return exitStorage
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		cancel(interrupted{<-signals})
		again := <-signals
		fmt.Fprintln(os.Stderr, "interrupted again: ended at once, and what was in hand may be lost; after apply, run it again with --resume")
		os.Exit(exitCode(interrupted{again}))
	}()
	return run(ctx, systemEnv(), os.Args[1:])
}
