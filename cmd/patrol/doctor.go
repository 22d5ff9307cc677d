package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"patrol/cmd/internal/pipeline"
	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/store"
	"patrol/reports/table"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// Doctor says for each workspace what works and what to do if not.
func (c commands) Doctor() *cobra.Command {
	var o pipeline.Source
	var format choice
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check the configuration, the database, and sign-in and rights in each workspace",
		Long: "Signs in to each workspace, asks who the caller is and whether it is an admin, and reads each section once. Checks the\n" +
			"configuration and looks for damage in the database. Problems come first, those alike together, each with what to do.\n" +
			"Nothing is changed and nothing is stored.",
		Example: "  patrol doctor --profile prod\n  patrol doctor --format json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.app.doctor(cmd, &o, format.word) },
	}
	addSourceFlags(cmd.Flags(), &o)
	addFormatFlag(cmd.Flags(), &format, "text", "json")
	return cmd
}

// diagnosis is all that doctor found.
type diagnosis struct {
	Checks     []checkup         `json:"checks"` // of what is not a workspace
	Workspaces []workspaceHealth `json:"workspaces"`
	Healthy    int               `json:"healthy"`
	Problems   int               `json:"problems"` // checks and workspaces that are not OK
}

type checkup struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

type workspaceHealth struct {
	Name        string          `json:"name"`
	Host        string          `json:"host"`
	WorkspaceID string          `json:"workspace_id,omitempty"`
	OK          bool            `json:"ok"`
	Caller      string          `json:"caller,omitempty" names:"person"`
	AuthType    string          `json:"auth_type,omitempty"`
	Admin       bool            `json:"admin"`
	Premium     string          `json:"premium"`
	Sections    []sectionHealth `json:"sections"`
	Problems    []sectionHealth `json:"problems"` // those alike are one
}

type sectionHealth struct {
	Section string `json:"section"`
	engine.Coverage
}

func (a *app) doctor(cmd *cobra.Command, o *pipeline.Source, format string) error {
	ctx := cmd.Context()
	if err := a.ResolveSource(ctx, o); err != nil {
		return err
	}
	if err := a.Discover(ctx, o); err != nil {
		return err
	}
	configured := a.configPath + ": no such file, the defaults are in force"
	if a.Config.Path != "" {
		configured = fmt.Sprintf("%s: %s, no mistake", a.Config.Path, plural(len(a.Config.Values()), "value"))
	}
	database := checked("database", a.DBPath+": not made yet; the first collect makes it", nil)
	if _, err := os.Stat(a.DBPath); !errors.Is(err, os.ErrNotExist) {
		database = checked("database", a.DBPath+": no damage found",
			a.WithStore(ctx, store.ReadOnly, func(db *store.DB) error { return db.QuickCheck(ctx) }))
	}
	found := diagnosis{Checks: []checkup{checked("configuration", configured, a.checkConfigured(cmd)), database}}
	if o.Discovered() { // verdicts do not rest on its list of people: a gap is no problem
		check := checkup{Check: "account principals", OK: true, Detail: "not read"}
		o.ReadDirectory(ctx)
		if c, asked := o.Directory(); asked && c.Complete() {
			check.Detail = fmt.Sprintf("%d read", c.Count)
		} else if asked {
			check.Reason, check.Detail, check.Hint = c.Reason, fmt.Sprintf("%s (%s) %s; verdicts do not rest on them", c.Status, c.Reason, c.Detail), c.Hint
		}
		found.Checks = append(found.Checks, check)
	}
	targets := a.Targets(o)
	found.Workspaces = make([]workspaceHealth, len(targets))
	tell, done := a.progress(len(targets))
	var mu sync.Mutex
	options := a.CollectOptions(o)
	options.Progress = func(e collectors.Event) {
		mu.Lock()
		defer mu.Unlock()
		tell(e)
	}
	group, probing := errgroup.WithContext(ctx)
	group.SetLimit(options.Parallel)
	for i, target := range targets {
		group.Go(func() error {
			options.Progress(collectors.Event{Kind: collectors.EventStarted, Workspace: target.Label()})
			report, err := collectors.Probe(probing, target, options)
			options.Progress(collectors.Event{Kind: collectors.EventDone, Workspace: target.Label()})
			found.Workspaces[i] = healthOf(report)
			return err
		})
	}
	err := group.Wait()
	done()
	if err != nil {
		return err
	}
	for _, check := range found.Checks {
		if !check.OK {
			found.Problems++
		}
	}
	for _, w := range found.Workspaces {
		a.Learn(w.Caller)
		if w.OK {
			found.Healthy++
		} else {
			found.Problems++
		}
	}
	found = engine.Pseudonymised(a.Names, found)
	if format == jsonFormat {
		err = a.writeJSON(found)
	} else {
		err = a.printDiagnosis(found)
	}
	if err != nil || found.Problems == 0 {
		return err
	}
	return &engine.Error{Class: engine.ClassIncomplete, Reason: string(engine.Incomplete), Hint: "Each problem comes with its own hint, above.",
		Err: errors.New(plural(found.Problems, "problem") + " found")}
}

func checked(what, detail string, err error) checkup {
	if err == nil {
		return checkup{Check: what, OK: true, Detail: detail}
	}
	d := describe(err)
	return checkup{Check: what, Reason: d.Reason, Detail: d.Message, Hint: d.Hint}
}

// alike reports whether two problems are one but for their sections.
func (s sectionHealth) alike(other sectionHealth) bool {
	return s.Status == other.Status && s.Reason == other.Reason && s.Hint == other.Hint
}

func healthOf(r collectors.ProbeReport) workspaceHealth {
	w := workspaceHealth{Name: r.Target.Label(), Host: r.Workspace.Host, WorkspaceID: r.Workspace.ID, Caller: r.Caller, AuthType: r.AuthType,
		Admin: r.Admin, Premium: r.Premium, Sections: []sectionHealth{}, Problems: []sectionHealth{}}
	if r.Problem.Status != "" {
		w.Problems = append(w.Problems, sectionHealth{"", r.Problem})
		return w
	}
	if r.SignedIn && !r.Admin {
		w.Problems = append(w.Problems, sectionHealth{"admin rights", engine.Coverage{Status: engine.Denied, Reason: "not_admin",
			Detail: "the caller is no workspace admin", Hint: "Let an admin add this principal to the group admins; only admins see other people's tokens."}})
	}
	for _, s := range r.Sections {
		section := sectionHealth{string(s.Section), s.Coverage}
		w.Sections = append(w.Sections, section)
		if s.Coverage.Complete() || s.Coverage.Status == engine.Off || !s.Coverage.Requested() {
			continue
		}
		if i := slices.IndexFunc(w.Problems, section.alike); i < 0 {
			w.Problems = append(w.Problems, section)
		} else {
			w.Problems[i].Section += ", " + section.Section
		}
	}
	w.OK = r.SignedIn && len(w.Problems) == 0
	return w
}

// mostHealthy is how many healthy workspaces have a line of their own.
const mostHealthy = 20

func (a *app) printDiagnosis(d diagnosis) error {
	const indent = "        "
	options := a.tableOptions()
	options.Whole = !a.env.stdoutTerminal // a line each, for who looks for one
	screen := table.NewScreen(a.env.stdout, options)
	print := func(mark, text, hint string) {
		screen.Hang(fmt.Sprintf("%-6s  ", mark), indent, text)
		if hint != "" {
			screen.Hang(indent, indent, "hint: "+hint)
		}
	}
	for _, c := range d.Checks {
		if !c.OK {
			print("FAILED", c.Check+": "+c.Reason+": "+c.Detail, c.Hint)
		}
	}
	type shared struct {
		problem    sectionHealth
		workspaces []string
	}
	var problems []shared
	for _, w := range d.Workspaces {
		for _, p := range w.Problems {
			i := slices.IndexFunc(problems, func(s shared) bool { return s.problem.Section == p.Section && s.problem.alike(p) })
			if i < 0 {
				i = len(problems)
				problems = append(problems, shared{problem: p})
			}
			problems[i].workspaces = append(problems[i].workspaces, w.Name)
		}
	}
	few := 5
	if a.verbose {
		few = len(d.Workspaces)
	}
	for _, s := range problems {
		where, what := engine.FewWords(s.workspaces, few), strings.TrimPrefix(s.problem.Section+": ", ": ")
		if len(s.workspaces) > 1 {
			where = fmt.Sprintf("%s (%s)", plural(len(s.workspaces), "workspace"), where)
		}
		print("FAILED", fmt.Sprintf("%s: %s%s (%s) %s", where, what, s.problem.Status, s.problem.Reason, s.problem.Detail), s.problem.Hint)
	}
	for _, c := range d.Checks {
		if c.OK && c.Hint != "" {
			print("-", c.Check+": "+c.Detail, c.Hint)
		} else if c.OK {
			print("ok", c.Check+": "+c.Detail, "")
		}
	}
	var rest []string
	tokens := 0
	notRead := map[string]bool{}
	for _, w := range d.Workspaces {
		if !w.OK {
			continue
		}
		text, count := "tokens are off", 0
		for _, s := range w.Sections {
			if !s.Requested() {
				notRead[s.Section] = true
			} else if s.Section == string(engine.SectionTokens) && s.Status != engine.Off {
				count = s.Count
				text = plural(count, "token")
			}
		}
		if d.Healthy > mostHealthy && !a.verbose {
			rest, tokens = append(rest, w.Name), tokens+count
			continue
		}
		if w.Premium != "yes" {
			text += ", Premium plan: " + w.Premium
		}
		print("ok", fmt.Sprintf("%s %s: signed in as %s (%s), workspace id %s, admin; %s", w.Name, w.Host, w.Caller, w.AuthType, w.WorkspaceID, text), "")
	}
	if len(rest) > 0 {
		print("ok", fmt.Sprintf("%s (%s): signed in as an admin; %s; -v lists them", plural(len(rest), "workspace"), engine.FewWords(rest, few), plural(tokens, "token")), "")
	}
	if len(notRead) > 0 {
		print("-", "not read, because nobody asks for it: "+strings.Join(engine.SortedKeys(notRead), ", "), "")
	}
	screen.Line(fmt.Sprintf("%s: %d healthy, %d with problems", plural(len(d.Workspaces), "workspace"), d.Healthy, len(d.Workspaces)-d.Healthy))
	return screen.Flush()
}
