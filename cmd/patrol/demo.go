package main

import (
	"context"
	"errors"
	"path/filepath"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/outfile"

	"github.com/spf13/cobra"
)

// demoOptions describe the account of the demo and where its files go.
type demoOptions struct {
	account simulateOptions
	dir     string
}

// Demo tells the story on a simulated account.
func (c commands) Demo() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Tell the whole story on a simulated account, without credentials",
		Long: "Starts a simulated account on loopback, audits its workspaces, plans what to do, approves the harmless part, applies it\n" +
			"while one token changes under its hands, and audits again: each step as the command that is named with it would. Leaves\n" +
			"database, reports, plan, outcome and journal in a directory for you to look at. Ends with exit code 0: the findings, and\n" +
			"the step that is skipped, are part of the story.",
		Example: "  patrol demo\n  patrol demo --tokens 5000 --output-dir /tmp/demo",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.demo(cmd.Context(), &o) },
	}
	o.account.addPopulation(cmd.Flags())
	cmd.Flags().StringVar(&o.dir, "output-dir", "patrol-demo", "leave database and reports in this `directory`")
	config.OwnPlace(cmd.Flags(), "output-dir")
	return cmd
}

func (a *app) demo(ctx context.Context, o *demoOptions) error {
	account, err := o.account.account(a.env.now)
	if err != nil {
		return err
	}
	if err := outfile.MakeDir(o.dir); err != nil {
		return err
	}
	server, err := serve(ctx, "127.0.0.1:0", account)
	if err != nil {
		return err
	}
	defer server.stop()
	profiles := filepath.Join(o.dir, "databrickscfg")
	if err := writeText(profiles, account.ConfigFile(server.url)); err != nil {
		return err
	}
	a.say("A simulated account with %s of %s each, on loopback.", plural(o.account.workspaces, "workspace"), plural(o.account.tokens, "token"))
	a.say("")
	a.dbPath = filepath.Join(o.dir, "patrol.db")
	for _, w := range account.Workspaces() {
		a.config.Workspaces = append(a.config.Workspaces, config.Workspace{Name: w.Name, Profile: w.Profile, Labels: w.Labels})
	}
	own := *a.env
	own.now = account.Now // plans and approvals are dated by the account's clock
	a.env = &own
	if err := a.demoAudit(ctx, profiles, o.dir); err != nil {
		return err
	}
	story := demoStory{app: a, account: account, profiles: profiles, dir: o.dir}
	if err := story.tell(ctx); err != nil {
		return err
	}
	a.say("")
	a.say("Look at %s. The same on your workspaces: `patrol audit --profile NAME`.", filepath.Join(o.dir, "audit.xlsx"))
	return nil
}

// demoAudit audits the account that the profiles lead to. Findings are what a
// demo is for: they are no failure.
func (a *app) demoAudit(ctx context.Context, profiles, dir string) error {
	options := auditOptions{}
	options.source = demoSource(profiles)
	options.judge.failOn.Threshold, options.judge.minCoverage = engine.FailOn(engine.Low), everything
	options.report = reportOptions{formats: []string{"csv", "xlsx", "json"}, dir: dir}
	err := a.audit(ctx, &options, "default")
	var reached verdictError
	if errors.As(err, &reached) && reached.verdict == engine.Violations {
		return nil
	}
	return err
}
