package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/store"

	"github.com/spf13/cobra"
)

// Doctor says for each workspace what works and what to do if not.
func (c commands) Doctor() *cobra.Command {
	var o sourceOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check sign-in, rights and every section of each workspace, and the database",
		Long: "Signs in to each workspace, asks who the caller is and whether it is an admin, reads each section once, and says what to do\n" +
			"about whatever does not work. Only GET requests are sent; nothing is stored.",
		Example: "  patrol doctor --profile prod",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.doctor(cmd.Context(), &o) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (a *app) doctor(ctx context.Context, o *sourceOptions) error {
	if err := o.request.resolve(ctx); err != nil {
		return err
	}
	if err := a.discover(ctx, o); err != nil {
		return err
	}
	healthy := a.doctorStore(ctx)
	a.doctorDirectory(ctx, o.found)
	for _, target := range a.targets(o) {
		report, err := collectors.Probe(ctx, target, a.collectOptions(o))
		if err != nil {
			return err
		}
		healthy = a.printProbe(report) && healthy
	}
	if !healthy {
		return verdict(engine.Incomplete)
	}
	return nil
}

// doctorStore checks the database, if there is one yet.
func (a *app) doctorStore(ctx context.Context) bool {
	if _, err := os.Stat(a.dbPath); errors.Is(err, os.ErrNotExist) {
		a.check(true, "database %s: not made yet; the first collect makes it", a.dbPath)
		return true
	}
	err := a.withStore(ctx, store.ReadOnly, func(*store.DB) error { return nil })
	if err != nil {
		d := describe(err)
		a.check(false, "database: %s: %s", d.Reason, d.Message)
		a.hint(d.Hint)
		return false
	}
	a.check(true, "database %s", a.dbPath)
	return true
}

// doctorDirectory tries the account's directory. Nothing fails without it.
func (a *app) doctorDirectory(ctx context.Context, d *discovery) {
	d.readDirectory(ctx)
	if d == nil || d.directory == nil {
		return
	}
	c := d.directory.Coverage()
	if c.Complete() {
		a.check(true, "account principals: %d read", c.Count)
		return
	}
	fmt.Fprintf(a.env.stdout, "  -       %s\n", engine.SafeText(fmt.Sprintf("account principals: %s (%s) %s", c.Status, c.Reason, c.Detail)))
	a.hint(c.Hint)
}

// printProbe prints what works in a workspace and reports whether all does.
func (a *app) printProbe(r collectors.ProbeReport) bool {
	fmt.Fprintln(a.env.stdout, "\n"+strings.TrimSpace(engine.SafeText(r.Target.Label()+" "+r.Workspace.Host)))
	if r.Problem.Status != "" {
		a.check(false, "%s (%s) %s", r.Problem.Status, r.Problem.Reason, r.Problem.Detail)
		a.hint(r.Problem.Hint)
		return false
	}
	a.learn(r.Caller)
	a.check(r.SignedIn, "signed in as %s (%s), workspace id %s", r.Caller, r.AuthType, r.Workspace.ID)
	a.check(r.Admin, "workspace admin")
	if r.SignedIn && !r.Admin {
		a.hint("Let an admin add this principal to the group admins; only admins see other people's tokens.")
	}
	healthy := r.SignedIn && r.Admin
	for _, s := range r.Sections {
		healthy = a.printSection(s) && healthy
	}
	a.printPremium(r.Premium)
	return healthy
}

// printPremium tells of the plan. That nothing answered that could tell is no
// failure of its own: the sections say why.
func (a *app) printPremium(plan string) {
	if plan == "unknown" {
		fmt.Fprintln(a.env.stdout, "  -       Premium plan: unknown")
		return
	}
	a.check(plan == "yes", "Premium plan: %s", plan)
}

func (a *app) printSection(s collectors.SectionProbe) bool {
	c := s.Coverage
	switch {
	case c.Status == engine.Off:
		return a.check(true, "%s: off: %s", s.Section, c.Detail)
	case c.Complete():
		return a.check(true, "%s: %d read", s.Section, c.Count)
	case !c.Requested(): // what nobody asked for is not missing
		fmt.Fprintf(a.env.stdout, "  -       %s: not read\n", s.Section)
		a.hint(c.Hint)
		return true
	}
	a.check(false, "%s: %s (%s) %s", s.Section, c.Status, c.Reason, c.Detail)
	a.hint(c.Hint)
	return false
}

// check prints a line that says ok or not, in words: colour is no carrier of meaning.
func (a *app) check(ok bool, format string, args ...any) bool {
	mark := "ok    "
	if !ok {
		mark = "FAILED"
	}
	fmt.Fprintf(a.env.stdout, "  %s  %s\n", mark, engine.SafeText(engine.Pseudonymised(a.names, fmt.Sprintf(format, args...))))
	return ok
}

func (a *app) hint(text string) {
	if text != "" {
		fmt.Fprintf(a.env.stdout, "          hint: %s\n", engine.SafeText(text))
	}
}
