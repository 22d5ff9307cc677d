// Command patrol audits the personal access tokens of Databricks workspaces
// against policies written in Rego.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(start()) }

// start is main with deferred functions that run. The second signal kills at
// once, because the handler is gone after the first.
func start() int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		caught := <-signals
		signal.Stop(signals)
		cancel(interrupted{caught})
	}()
	return run(ctx, systemEnv(), os.Args[1:])
}
