package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patrol/cmd/internal/config"
	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/remedy"
	"patrol/engine/store"

	"github.com/spf13/cobra"
)

// demoOptions describe the account of the demo and where its files go.
type demoOptions struct {
	account simulateOptions
	dir     string
	serve   bool
}

// Demo shows the story on a simulated account.
func (c commands) Demo() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole story on a simulated account, without credentials",
		Long: "Starts a simulated account on loopback, audits its workspaces, plans what to do, approves the harmless part, applies it\n" +
			"while one token changes under its hands, audits again, and shows the way off the token that is used most. Each step is a\n" +
			"command of patrol; the story is a screen of what came of them. Leaves all that they printed, database,\n" +
			"reports, plan, outcome and journal in a directory, in place of those of an earlier demo. Ends with exit code 0: the\n" +
			"findings, and the step that is skipped, are part of the story.\n\n" +
			"With --serve the account stays afterwards, for you to try commands on, until interrupted.",
		Example: "  patrol demo\n  patrol demo --serve\n  patrol demo --tokens 5000 --output-dir /tmp/demo",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.app.demo(cmd.Context(), &o) },
	}
	o.account.addPopulation(cmd.Flags())
	cmd.Flags().StringVar(&o.dir, "output-dir", "patrol-demo", "leave database and reports in this `directory`")
	cmd.Flags().BoolVar(&o.serve, "serve", false, "keep the account after the story, until interrupted")
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
	in := func(name string) string { return filepath.Join(o.dir, name) }
	// The account is a new one: to what an earlier demo left, its tokens would be revoked
	// ones that came back. What is of other workspaces stays.
	if err := a.onlyOfDemo(ctx, in("patrol.db"), in("patrol.yaml")); err != nil {
		return err
	}
	for _, name := range []string{"patrol.db", "patrol.db-wal", "patrol.db-shm", "patrol-journal.db", "patrol-journal.db-wal", "patrol-journal.db-shm"} {
		if err := os.Remove(in(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return &engine.Error{Class: engine.ClassStorage, Reason: "output", Op: "remove", Target: in(name), Hint: "Name another directory by --output-dir.", Err: err}
		}
	}
	if err := writeText(in("databrickscfg"), account.ConfigFile(server.url)); err != nil {
		return err
	}
	if err := writeText(in("patrol.yaml"), demoConfig(account)); err != nil {
		return err
	}
	var log bytes.Buffer // all that the commands print
	save := func() error {
		return outfile.Write(in("demo.log"), func(w io.Writer) error { _, err := w.Write(log.Bytes()); return err })
	}
	// patrol runs a command as a user would, at the account's time and without
	// the settings of this machine.
	patrol := func(args ...string) error {
		fmt.Fprintf(&log, "$ patrol %s\n", strings.Join(args, " "))
		e := *a.env
		e.stdin, e.stdout, e.stderr, e.now = strings.NewReader(""), &log, &log, account.Now
		e.stdoutTerminal, e.stderrTerminal = false, false
		e.lookup = func(name string) (string, bool) {
			switch {
			case name == "DATABRICKS_CONFIG_FILE":
				return in("databrickscfg"), true
			case strings.HasPrefix(name, "PATROL_"):
				return "", false
			}
			return a.env.lookup(name)
		}
		err := execute(ctx, &e, append(args, "--config", in("patrol.yaml"), "--db", in("patrol.db")))
		fmt.Fprintln(&log)
		if err := save(); err != nil {
			return err
		}
		var reached verdictError
		known, isKnown := engine.AsError(err)
		if errors.As(err, &reached) && reached.verdict == engine.Violations || isKnown && known.Class == engine.ClassPartial {
			return nil // what a demo is for
		}
		return err
	}
	say := func(head, format string, args ...any) {
		fmt.Fprintln(a.env.stdout, hang(fmt.Sprintf("%-12s", head), engine.SafeText(fmt.Sprintf(format, args...)), 79))
	}

	say("account", "%s with %s each, simulated on loopback", plural(o.account.Workspaces, "workspace"), plural(o.account.Tokens, "token"))
	if err := patrol("audit", "--output-dir", o.dir); err != nil {
		return err
	}
	var before, after demoReport
	if err := readJSON(in("audit.json"), &before); err != nil {
		return err
	}
	say("1 audit", "%s: %s", plural(before.failed(), "failed result"), strings.Join(engine.SeverityCounts(before.failedAt), ", "))
	for _, line := range before.worst(6) {
		fmt.Fprintf(a.env.stdout, "%12s%s\n", "", engine.SafeText(line))
	}

	if err := patrol("plan", "-o", in("plan.json"), "--by", "demo"); err != nil {
		return err
	}
	plan, _, err := readPlan(in("plan.json"))
	if err != nil {
		return err
	}
	actions := map[string]int{}
	for _, step := range plan.Steps {
		actions[string(step.Action)]++
	}
	say("2 plan", "%s proposed: %s", plural(len(plan.Steps), "step"), counts(actions))
	stops, user := busiest(plan, account)
	if user != nil {
		what := "what uses it" // no agent was logged
		if len(user.Agents) > 0 {
			what, _, _ = strings.Cut(user.Agents[0], " ")
		}
		last, _, _ := strings.Cut(user.Last, "T")
		say("", "by the audit log, revoking %s stops %s: %d events a day, the last on %s", shortTarget(stops.Target), what, user.PerDay, last)
	}
	chosen := harmless(plan)
	if len(chosen) == 0 {
		say("3 approve", "no step is harmless enough to approve in a demo")
		return a.demoEnd(ctx, o, server)
	}
	var ids []string
	for _, step := range chosen {
		ids = append(ids, step.ID)
	}
	if err := patrol("approve", in("plan.json"), "--step", strings.Join(ids, ","), "--by", "reviewer@example.com", "--reason", "demo"); err != nil {
		return err
	}
	say("3 approve", "%s of low risk, within the limits, by reviewer@example.com", plural(len(ids), "step"))
	changed, err := drift(account, chosen)
	if err != nil {
		return err
	}
	if changed != "" {
		say("", "meanwhile somebody gives token %s another expiry", shortTarget(changed))
	}

	if err := patrol("apply", in("plan.json"), "--yes"); err != nil {
		return err
	}
	var outcome engine.OutcomeReport
	if err := readJSON(in("plan.outcome.json"), &outcome); err != nil {
		return err
	}
	approved := func(o engine.Outcome) bool { return slices.Contains(ids, o.Step.ID) }
	done := map[string]int{}
	for _, o := range outcome.Outcomes {
		if approved(o) && o.State.CarriedOut() {
			done[string(o.Step.Action)]++
		}
	}
	say("4 apply", "done: %s", counts(done))
	for _, o := range outcome.Outcomes {
		if approved(o) && !o.State.CarriedOut() {
			say("", "not done: %s %s, %s:", o.Step.Action, shortTarget(o.Step.Target), strings.ReplaceAll(string(o.State), "_", " "))
			say("              ", "%s", o.Detail)
		}
	}
	if err := patrol("audit", "--output-dir", in("after")); err != nil {
		return err
	}
	if err := readJSON(in(filepath.Join("after", "audit.json")), &after); err != nil {
		return err
	}
	say("5 audit", "%s, %d before", plural(after.failed(), "failed result"), before.failed())

	if user != nil {
		if err := patrol("migrate", stops.Target, "--workspace", stops.WorkspaceID, "--format", "json", "-o", in("migrate.json")); err != nil {
			return err
		}
		var recipe struct{ Migrations []struct{ Identity string } }
		if err := readJSON(in("migrate.json"), &recipe); err != nil {
			return err
		}
		for _, m := range recipe.Migrations {
			say("6 migrate", "the way off %s: %s", shortTarget(stops.Target), m.Identity)
		}
	}
	return a.demoEnd(ctx, o, server)
}

// demoEnd names the files and what to do next; with --serve it waits.
func (a *app) demoEnd(ctx context.Context, o *demoOptions, server *server) error {
	files, err := os.ReadDir(o.dir)
	if err != nil {
		return err
	}
	names := ""
	for _, file := range files {
		names += " " + file.Name() + ifSet(file.IsDir(), string(filepath.Separator))
	}
	fmt.Fprintf(a.env.stdout, "\nFiles in %s (demo.log holds all that these commands printed):\n", o.dir)
	fmt.Fprintln(a.env.stdout, hang("  ", names, 78))
	fmt.Fprint(a.env.stdout, "\nNext:\n")
	program, dir := os.Args[0], o.dir
	if filepath.IsAbs(program) || !strings.ContainsRune(program, filepath.Separator) {
		program = "patrol"
	}
	next := []string{
		"export PATROL_CONFIG=" + filepath.Join(dir, "patrol.yaml") + " PATROL_DB=" + filepath.Join(dir, "patrol.db"),
		program + " show " + filepath.Join(dir, "plan.json"),
		program + " tokens --no-expiry",
		program + " migrate --owner etl-runner   # the way off a token",
		program + " demo --serve" + ifSet(dir != "patrol-demo", " --output-dir "+dir) + "   # the account again, to try commands on",
	}
	if o.serve { // in another terminal
		next = []string{
			next[0],
			"export DATABRICKS_CONFIG_FILE=" + filepath.Join(dir, "databrickscfg"),
			program + " audit --output-dir " + filepath.Join(dir, "next"),
			program + " plan -o " + filepath.Join(dir, "next.json"),
		}
	}
	for _, line := range next {
		fmt.Fprintln(a.env.stdout, "  "+line)
	}
	if !o.serve {
		return nil
	}
	fmt.Fprintf(a.env.stdout, "\nThe account is served at %s until you interrupt; go on in another terminal.\n", server.url)
	return server.wait(ctx)
}

func ifSet(set bool, text string) string {
	if set {
		return text
	}
	return ""
}

// demoConfig names the workspaces, so that commands need no profile.
// onlyOfDemo refuses to replace a database or a configuration that no demo made.
func (a *app) onlyOfDemo(ctx context.Context, path, configuration string) error {
	refuse := func(name string) error {
		return &engine.Error{Class: engine.ClassUsage, Reason: "not_a_demo", Op: "replace", Target: name, Hint: "Name another directory by --output-dir.",
			Err: errors.New("is not of an earlier demo")}
	}
	switch text, err := os.ReadFile(configuration); {
	case err == nil && !strings.HasPrefix(string(text), demoHead):
		return refuse(configuration)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return &engine.Error{Class: engine.ClassStorage, Reason: "output", Op: "read", Target: configuration, Hint: "Name another directory by --output-dir.", Err: err}
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	db, err := store.Open(ctx, path, store.Options{Mode: store.ReadOnly, Now: a.env.now})
	if err != nil {
		return err
	}
	snapshots, err := db.Snapshots(ctx)
	err = errors.Join(err, db.Close())
	if err == nil && slices.ContainsFunc(snapshots, func(s engine.Snapshot) bool { return !strings.HasPrefix(s.Workspace.Host, "http://127.0.0.1:") }) {
		return refuse(path)
	}
	return err
}

const demoHead = "# The workspaces of the simulated account.\n"

func demoConfig(account *simulator.Account) string {
	var b strings.Builder
	b.WriteString(demoHead + "workspaces:\n")
	for _, w := range account.Workspaces() {
		fmt.Fprintf(&b, "  - {name: %s, profile: %s, labels: {cloud: %s, env: %s}}\n", w.Name, w.Profile, w.Labels["cloud"], w.Labels["env"])
	}
	fmt.Fprintf(&b, "# Who uses the tokens is read from the audit log, by this SQL warehouse of each workspace.\nusage: {warehouse: %s}\n", simulator.Warehouse)
	return b.String()
}

// demoReport is what the story says of an audit.json.
type demoReport struct {
	Policies []struct {
		ID       string
		Title    string
		Severity engine.Severity
		Fail     int
	}
}

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("demo: read %s: %w", path, err)
	}
	return nil
}

func (r demoReport) failedAt(severity engine.Severity) (n int) {
	for _, p := range r.Policies {
		if p.Severity == severity {
			n += p.Fail
		}
	}
	return n
}

func (r demoReport) failed() (n int) {
	for _, p := range r.Policies {
		n += p.Fail
	}
	return n
}

// worst are lines on the policies with the worst findings, n at most.
func (r demoReport) worst(n int) (lines []string) {
	left := 0
	for _, p := range r.Policies {
		switch {
		case p.Fail == 0:
		case len(lines) < n:
			lines = append(lines, fmt.Sprintf("%3d  %s %-8s %s", p.Fail, p.ID, p.Severity, p.Title))
		default:
			left++
		}
	}
	if left > 0 {
		lines = append(lines, fmt.Sprintf("     and %d more policies", left))
	}
	return lines
}

// busiest is the revocation of a token that has not expired which stops most, and
// who uses the token.
func busiest(p engine.Plan, account *simulator.Account) (busy engine.Step, user *engine.TokenUser) {
	for _, step := range p.Steps {
		token, _ := account.Token(step.WorkspaceID, step.Target)
		lives := token.ExpiryTime == -1 || token.ExpiryTime > account.Now().UnixMilli()
		for i, u := range step.Risk.Users {
			if step.Action == engine.Revoke && lives && (user == nil || u.PerDay*u.Days > user.PerDay*user.Days) {
				busy, user = step, &step.Risk.Users[i]
			}
		}
	}
	return busy, user
}

// counts are the most frequent first: "revoke 68, notify 25".
func counts(of map[string]int) string {
	var parts []string
	for _, name := range slices.SortedFunc(maps.Keys(of), func(x, y string) int { return cmp.Or(of[y]-of[x], strings.Compare(x, y)) }) {
		parts = append(parts, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(parts, ", ")
}

func shortTarget(target string) string {
	if len(target) > 12 {
		return target[:8] + "…"
	}
	return target
}

// harmless are the steps that a careful reviewer would approve at first sight:
// those of low risk, for as long as the plan's limits allow.
func harmless(p engine.Plan) (steps []engine.Step) {
	chosen := map[string]bool{}
	for _, step := range p.Steps {
		if !remedy.Changes(step) || step.Risk.Level != "low" {
			continue
		}
		chosen[step.ID] = true
		if len(remedy.Exceeds(p, func(id string) bool { return chosen[id] })) > 0 {
			delete(chosen, step.ID)
			continue
		}
		steps = append(steps, step)
	}
	return steps
}

// drift has somebody else change the last of the tokens that are to be revoked,
// where there are several.
func drift(account *simulator.Account, steps []engine.Step) (changed string, err error) {
	var revoked []engine.Step
	for _, step := range steps {
		if step.Action == engine.Revoke {
			revoked = append(revoked, step)
		}
	}
	if len(revoked) < 2 {
		return "", nil
	}
	last := revoked[len(revoked)-1]
	token, there := account.Token(last.WorkspaceID, last.Target)
	if !there {
		return "", errors.New("demo: the account has lost a token")
	}
	token.ExpiryTime = account.Now().UnixMilli() + 30*engine.Day
	_, err = account.PutToken(last.WorkspaceID, token)
	return last.Target, err
}
