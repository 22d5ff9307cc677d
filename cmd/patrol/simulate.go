package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/outfile"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// simulateOptions describe a simulated account.
type simulateOptions struct {
	simulator.Options
	clock       time.Time // zero: it runs
	listen      string
	faults      string
	writeConfig string
}

// Simulate serves the simulated account.
func (c commands) Simulate() *cobra.Command {
	var o simulateOptions
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Serve a simulated Databricks account on loopback, for training and tests",
		Long: "Serves a stateful account with workspaces, principals, tokens, settings and grants over HTTP until interrupted. Any tool\n" +
			"that speaks to Databricks can be pointed at it; nothing leaves this machine. docs/simulator.md describes the sign-ins, the\n" +
			"population, and how to order faults.",
		Example: "  patrol simulate --listen 127.0.0.1:8080 --write-config sim.cfg &\n" +
			"  DATABRICKS_CONFIG_FILE=sim.cfg patrol audit --profile prod-analytics --profile dev-sandbox",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.app.simulate(cmd.Context(), &o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8080", "loopback `address` to serve on; port 0 takes a free one")
	o.addPopulation(flags)
	flags.DurationVar(&o.Latency, "latency", 0, "wait this long before each answer")
	flags.IntVar(&o.RateLimit, "rate-limit", 0, "answer 429 beyond this many token calls per second and workspace (0: never)")
	flags.BoolVar(&o.Int64Strings, "int64-strings", false, "send 64-bit integers as decimal strings")
	flags.StringVar(&o.NotFound, "not-found", simulator.NotFoundResource, "error `code` of a token that does not exist: "+simulator.NotFoundResource+" or "+simulator.NotFoundPlain)
	flags.IntVar(&o.MaxPage, "max-page", 10_000, "answer at most this many SCIM resources on one page")
	flags.StringVar(&o.faults, "faults", "", "order the faults in this JSON `file`")
	flags.StringVar(&o.writeConfig, "write-config", "", "write a .databrickscfg with a profile for each workspace to this `file`")
	return cmd
}

func (o *simulateOptions) addPopulation(flags *pflag.FlagSet) {
	flags.Uint64Var(&o.Seed, "seed", 1, "the same seed and clock give the same account")
	flags.IntVar(&o.Workspaces, "workspaces", 2, "number of workspaces")
	flags.IntVar(&o.Tokens, "tokens", 60, "tokens per workspace")
	flags.Var(instantFlag(&o.clock), "clock", "stop the account's clock at this moment (default: it runs with this machine's)")
}

func (o *simulateOptions) account(now func() time.Time) (*simulator.Account, error) {
	if o.Workspaces < 1 || o.Tokens < 0 || o.Tokens > simulator.MaxTokens {
		return nil, engine.UsageError("read flags", "--workspaces and --tokens", fmt.Sprintf("Use at least one workspace, and 0 to %d tokens in each.", simulator.MaxTokens),
			fmt.Errorf("%d workspaces, %d tokens", o.Workspaces, o.Tokens))
	}
	if o.NotFound != "" && o.NotFound != simulator.NotFoundResource && o.NotFound != simulator.NotFoundPlain {
		return nil, engine.UsageError("read flags", "--not-found", "Use "+simulator.NotFoundResource+" or "+simulator.NotFoundPlain+".", fmt.Errorf("%q is neither", o.NotFound))
	}
	o.Now = now
	if !o.clock.IsZero() {
		o.Now = func() time.Time { return o.clock }
	}
	account := simulator.New(o.Options)
	if o.faults == "" {
		return account, nil
	}
	text, err := os.ReadFile(o.faults)
	var faults []simulator.Fault
	if err == nil {
		faults, err = simulator.ParseFaults(text)
	}
	if err != nil {
		return nil, engine.UsageError("read faults", o.faults, "Name a file of faults; docs/simulator.md describes it.", err)
	}
	for _, fault := range faults {
		account.AddFault(fault)
	}
	return account, nil
}

func (a *app) simulate(ctx context.Context, o *simulateOptions) error {
	account, err := o.account(a.env.now)
	if err != nil {
		return err
	}
	server, err := serve(ctx, o.listen, account)
	if err != nil {
		return err
	}
	defer server.stop()
	fmt.Fprintf(a.env.stdout, "simulated account at %s\n", server.url)
	for _, w := range account.Workspaces() {
		fmt.Fprintf(a.env.stdout, "  %-16s id %-20d DATABRICKS_HOST=%s DATABRICKS_TOKEN=%s\n", w.Name, w.ID, server.url, w.Token)
	}
	if o.writeConfig != "" {
		if err := writeText(o.writeConfig, account.ConfigFile(server.url)); err != nil {
			return err
		}
		fmt.Fprintf(a.env.stdout, "profiles in %s\n", o.writeConfig)
	}
	fmt.Fprintln(a.env.stdout, "ready; interrupt to stop")
	return server.wait(ctx)
}

// writeText writes a file that appears whole.
func writeText(path, text string) error {
	return outfile.Write(path, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// server is an HTTP server on a loopback address.
type server struct {
	url    string
	http   *http.Server
	failed chan error
}

// serve starts a server on a loopback address; any other address is refused,
// because a simulated account signs in anybody.
func serve(ctx context.Context, address string, handler http.Handler) (*server, error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		err = fmt.Errorf("%q is not a loopback address", host)
	}
	if err != nil {
		return nil, engine.UsageError("listen on", address, "Use 127.0.0.1:PORT, or port 0 for a free one.", err)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, engine.UsageError("listen on", address, "Choose another port, or 0 for a free one.", err)
	}
	s := &server{url: "http://" + listener.Addr().String(), http: &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}, failed: make(chan error, 1)}
	go func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	}()
	return s, nil
}

func (s *server) stop() { _ = s.http.Close() }

// wait serves until an interrupt, which is how that ends.
func (s *server) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return errServed
	case err := <-s.failed:
		return err
	}
}
