package pipeline

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"patrol/cmd/internal/config"
	"patrol/collectors"
	"patrol/engine"
)

// What reading costs by default: workspaces at once, waiting for each section.
const (
	DefaultParallel    = 4
	AccountParallel    = 16 // each workspace of an account has limits of its own
	DefaultRetryBudget = 5 * time.Minute
)

// Source says which workspaces are read, and how. Its resolved values are those
// of one run: a Source is used once.
type Source struct {
	Profiles     []string
	Account      string   // profile of an account
	From         []string // files; - is standard input
	AcceptEmpty  bool     // files without rows are meant
	AcceptShrink []string // lists that may be far shorter than in the snapshot before
	Shard        Shard    // which of the workspaces

	CAFile      string
	NoProxy     bool
	Parallel    int           // 0: DefaultParallel, or AccountParallel where an account lists the workspaces
	RetryBudget time.Duration // 0: nothing is tried again

	With         []string // sections that an ordinary audit leaves out
	Usage        string   // warehouse:ID, in place of the configuration's
	AuditLog     string   // path of an exported audit log
	AuditChanges string   // path of an exported log of changes
	TokenReport  string   // path of a token report of the account console

	config   string          // DATABRICKS_CONFIG_FILE: another .databrickscfg
	account  *accountListing // nil before it was asked, and without one
	sections []engine.SectionName
	usage    *collectors.Usage // nil: not asked for
	exports  map[engine.SectionName]collectors.Export
	report   *collectors.TokenReport
}

// accountListing is what an account answered, once per run.
type accountListing struct {
	collectors.Account
	targets   []collectors.Target
	listing   engine.AccountListing
	directory *collectors.AccountDirectory // of its users and service principals; nil until it is asked for, and where there is none
}

// Shard is one of Count parts of the workspaces, from 0 to Count-1, as
// schedulers number the pods of a job. The zero value is all of them.
type Shard struct{ Index, Count int }

// of keeps the workspaces of this shard. Which shard a workspace is in depends
// on its id and the number of shards alone, so that others come and go without
// moving it; one whose id is not known before it is read goes by its name.
func (s Shard) of(targets []collectors.Target) []collectors.Target {
	if s.Count == 0 {
		return targets
	}
	var mine []collectors.Target
	for _, target := range targets {
		key := target.WorkspaceID
		if key == "" {
			key = target.Label()
		}
		sum := fnv.New64a()
		sum.Write([]byte(key))
		if sum.Sum64()%uint64(s.Count) == uint64(s.Index) { //nolint:gosec // neither is negative
			mine = append(mine, target)
		}
	}
	return mine
}

// SectionsOnRequest are those that calls can read; others come from a file.
func SectionsOnRequest() []string {
	var names []string
	for _, collector := range collectors.All() {
		if collector.OnRequest != "" && collector.Flag == "" {
			names = append(names, string(collector.Section))
		}
	}
	return names
}

// Shrinkable are the lists that Source.AcceptShrink names.
func Shrinkable() []string {
	var names []string
	for _, list := range collectors.Shrinkable() {
		names = append(names, string(list))
	}
	return names
}

// CheckSource finds what is wrongly asked for before anything is done.
func (r *Run) CheckSource(ctx context.Context, s *Source) error {
	if err := r.ResolveSource(ctx, s); err != nil {
		return err
	}
	for _, pair := range []struct {
		flags, hint string
		both        bool
	}{
		{"--from and --account", "Use one of them: a file or an account.", len(s.From) > 0 && s.Account != ""},
		{"--from and --profile", "Use one of them: a file or a workspace.", len(s.From) > 0 && len(s.Profiles) > 0},
		{"--account and --profile", "Use one of them.", s.Account != "" && len(s.Profiles) > 0},
	} {
		if pair.both {
			return engine.UsageError("read flags", pair.flags, pair.hint, errors.New("cannot be combined"))
		}
	}
	for _, path := range s.From {
		if path == "-" {
			continue // standard input
		}
		if _, err := os.Stat(path); err != nil {
			return engine.UsageError("import", path, "Give a file with a token list.", err)
		}
	}
	if len(s.From) > 0 {
		return nil
	}
	if err := r.Discover(ctx, s); err != nil {
		return err
	}
	targets := r.Targets(s)
	for i, target := range targets {
		same := func(other collectors.Target) bool {
			return other.Profile == target.Profile && other.Host == target.Host && other.WorkspaceID == target.WorkspaceID
		}
		if slices.ContainsFunc(targets[:i], same) {
			return engine.UsageError("read", target.Label(), "Name each workspace once.", errors.New("is asked for twice"))
		}
	}
	return collectors.Check(ctx, targets, r.CollectOptions(s))
}

// ResolveSource checks what is asked for beside an ordinary audit, files row by
// row, before anything is read.
func (r *Run) ResolveSource(ctx context.Context, s *Source) (err error) {
	s.config, _ = r.Lookup("DATABRICKS_CONFIG_FILE")
	for _, name := range s.With {
		name = strings.TrimSpace(name)
		if !slices.Contains(SectionsOnRequest(), name) {
			hint := "Known are: " + strings.Join(SectionsOnRequest(), ", ") + "."
			for _, collector := range collectors.All() {
				if name == string(collector.Section) && collector.Flag != "" {
					hint = collector.OnRequest
				}
			}
			return engine.UsageError("read flag", "--with", hint, fmt.Errorf("no section that is read on request is called %q", name))
		}
		s.sections = append(s.sections, engine.SectionName(name))
	}
	s.exports = map[engine.SectionName]collectors.Export{}
	if s.AuditLog != "" {
		s.exports[engine.SectionAuditLog], err = collectors.OpenAuditLog(ctx, s.AuditLog)
	}
	if err == nil && s.AuditChanges != "" {
		s.exports[engine.SectionAuditChanges], err = collectors.OpenAuditChanges(ctx, s.AuditChanges)
	}
	if err == nil && s.TokenReport != "" {
		s.report, err = collectors.OpenTokenReport(ctx, s.TokenReport)
		s.exports[engine.SectionTokenReport] = s.report
	}
	if err != nil {
		return err
	}
	s.usage = r.Config.Usage.Reader(nil)
	if s.Usage != "" {
		id, named := strings.CutPrefix(s.Usage, "warehouse:")
		if !named || id == "" {
			return engine.UsageError("read flag", "--usage", "Name the SQL warehouse: --usage warehouse:ID; `databricks warehouses list` tells the ids.", fmt.Errorf("%q is not warehouse:ID", s.Usage))
		}
		s.usage = r.Config.Usage.Reader(&id)
	}
	if s.usage == nil {
		return nil
	}
	s.usage.ConfigFile = s.config
	if s.AuditLog != "" || s.AuditChanges != "" {
		return engine.UsageError("read flags", "--usage and --audit-log or --audit-changes", "Use one of them: the table or a file.", errors.New("cannot be combined"))
	}
	if s.Usage != "" && len(s.From) > 0 {
		return engine.UsageError("read flags", "--from and --usage", "A file has no warehouse that could be asked: export the log by the query of `patrol help usage-queries` and give it as --audit-log.", errors.New("cannot be combined"))
	}
	return nil
}

// CollectOptions are how the workspaces of a source are read.
func (r *Run) CollectOptions(s *Source) collectors.Options {
	options := collectors.Options{
		Now: r.Now, Parallel: s.Parallel, CAFile: s.CAFile, NoProxy: s.NoProxy, UserAgentVersion: r.Version,
		SpoolDir:    filepath.Dir(r.DBPath),
		Sections:    s.sections,
		Usage:       s.usage,
		Exports:     s.exports,
		RetryBudget: max(s.RetryBudget, 1), // 0 would mean the default: a nanosecond is no time for a retry
	}
	if s.account != nil {
		options.Account = &s.account.Account
	}
	switch {
	case s.Parallel > 0:
	case s.account != nil:
		options.Parallel = AccountParallel
	default:
		options.Parallel = DefaultParallel
	}
	return options
}

// Targets are the workspaces of a source, or of its shard: those of its
// profiles, else those that the account listed, else the configuration's, else
// the one that the Databricks environment variables and the default profile
// describe.
func (r *Run) Targets(s *Source) []collectors.Target {
	chosen := []config.Workspace{{}}
	switch {
	case len(s.Profiles) > 0:
		chosen = nil
		for _, profile := range s.Profiles {
			w := config.Workspace{Profile: profile}
			if i := slices.IndexFunc(r.Config.Workspaces, func(w config.Workspace) bool { return w.Profile == profile }); i >= 0 {
				w = r.Config.Workspaces[i]
			}
			chosen = append(chosen, w)
		}
	case s.account != nil:
		return s.Shard.of(s.account.targets)
	case len(r.Config.Workspaces) > 0:
		chosen = r.Config.Workspaces
	}
	var targets []collectors.Target
	for _, w := range chosen {
		t := collectors.Target{Name: w.Name, Profile: w.Profile, Host: w.Host, Labels: w.Labels, ConfigFile: s.config}
		if s.Usage == "" && s.AuditLog == "" && s.AuditChanges == "" {
			if t.Usage = w.Usage.Reader(nil); t.Usage != nil {
				t.Usage.ConfigFile = s.config
			}
		}
		targets = append(targets, t)
	}
	return s.Shard.of(targets)
}

// Discover asks the account of a source, if there is one, for its workspaces:
// the account of the flag, with what the configuration says of it, else the
// configuration's.
func (r *Run) Discover(ctx context.Context, s *Source) error {
	account := r.Config.Account
	if s.Account != "" && (account == nil || account.Profile != s.Account) {
		account = &config.Account{Profile: s.Account}
	}
	if account == nil || len(s.Profiles)+len(s.From) > 0 || s.account != nil {
		return nil
	}
	if s.Account == "" && len(r.Config.Workspaces) > 0 {
		return r.Config.Errorf("account", "workspaces and account: use one of them, or choose with --profile or --account")
	}
	target := collectors.AccountTarget{Profile: account.Profile, Host: account.Console(), AccountID: account.AccountID, ConfigFile: s.config}
	if account.Azure != nil {
		target.Azure = &collectors.AzureAccount{
			Subscriptions: account.Azure.Subscriptions, Tenant: account.Azure.Tenant, Environment: account.Azure.Environment, Endpoint: account.Azure.Endpoint,
		}
	}
	listed, err := collectors.Discover(ctx, target, r.CollectOptions(s))
	if err != nil {
		return err
	}
	for _, id := range slices.Concat(account.Include.IDs, account.Exclude.IDs) { // a misspelt one would never be missed
		if !slices.ContainsFunc(listed.Workspaces, func(w collectors.AccountWorkspace) bool { return w.ID == id }) {
			return engine.UsageError("choose workspaces of", target.Label(), "Correct `ids` under `account:`.", fmt.Errorf("it lists no workspace %s", id))
		}
	}
	var chosen []collectors.AccountWorkspace
	uses := map[string]int{} // of a name
	for _, w := range listed.Workspaces {
		if account.Chooses(w) {
			chosen = append(chosen, w)
			uses[w.Name]++
		}
	}
	if len(chosen) == 0 {
		return engine.UsageError("choose workspaces of", target.Label(), "Widen `include`, or narrow `exclude`, under `account:`.",
			fmt.Errorf("none of %d is left", len(listed.Workspaces)))
	}
	r.Log.Say("account %s lists %s; %d expected", listed.ID, engine.Plural(len(listed.Workspaces), "workspace"), len(chosen))
	found := &accountListing{Account: listed, listing: engine.AccountListing{AccountID: listed.ID}}
	for _, w := range chosen {
		t := w.Target(target)
		if uses[w.Name] > 1 { // each has a name of its own
			t.Name = strings.TrimPrefix(w.Name+"-"+w.ID, "-")
		}
		t.Labels = account.LabelsOf(w)
		if account.WorkspaceProfile != "" {
			t.Profile = strings.NewReplacer("{name}", w.Name, "{id}", w.ID).Replace(account.WorkspaceProfile)
			t.Discovered = false
		}
		found.targets = append(found.targets, t)
		found.listing.Workspaces = append(found.listing.Workspaces, engine.ListedWorkspace{ID: w.ID, Name: t.Name, Status: w.Status})
	}
	s.account = found
	return nil
}

// Discovered reports whether an account listed the workspaces.
func (s *Source) Discovered() bool { return s.account != nil }

// ReadDirectory begins to read the account's users and service principals, once
// for all workspaces.
func (s *Source) ReadDirectory(ctx context.Context) {
	if s.account != nil && s.account.directory == nil {
		s.account.directory = s.account.ReadDirectory(ctx)
	}
}

// Directory is what became of ReadDirectory; false where nobody asked for it, or
// there is none.
func (s *Source) Directory() (c engine.Coverage, asked bool) {
	if s.account == nil || s.account.directory == nil {
		return c, false
	}
	return s.account.directory.Coverage(), true
}

// Unread counts the tokens, and names the workspaces, that only the token report
// knows: no snapshot can say so.
func (s *Source) Unread(snapshots []engine.Snapshot) (tokens int, workspaces []string) {
	if s.report == nil {
		return 0, nil
	}
	var read []engine.Workspace
	for _, snapshot := range snapshots {
		read = append(read, snapshot.Workspace)
	}
	return s.report.Beyond(read)
}
