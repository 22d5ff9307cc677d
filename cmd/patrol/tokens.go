package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/cmd/internal/config"
	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/store"
	"patrol/reports"
	"patrol/reports/table"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// tokensOptions are the filters of the vendor's token report.
type tokensOptions struct {
	listFilter
	inactiveOwner bool
	noExpiry      bool
	neverUsed     bool
	expired       bool
	admin         bool
	comment       string
	created       span
	expires       span
	lastUsed      span
	snapshots     []string
	asOf          time.Time
	product       productOptions
}

// Tokens lists the tokens of the newest snapshots.
func (c commands) Tokens() *cobra.Command {
	o := tokensOptions{}
	cmd := &cobra.Command{
		Use:   "tokens",
		Short: "List and filter tokens: the vendor's token report, for every workspace",
		Long: "Lists the tokens of the newest snapshot of each workspace. Filters narrow each other. A token whose value for a filter is\n" +
			"unknown, or that has none (the last use of a token never used), is left out by it.\n\n" +
			"A moment is a day (2026-11-24), a time (RFC 3339) or a distance from the snapshot: 30d is 30 days after, -30d before.",
		Example: "  patrol tokens --inactive-owner\n  patrol tokens --policy PAT-004 --sort idle --limit 20\n  patrol tokens --no-expiry --workspace 'prod-*' --format csv\n" +
			"  patrol tokens --expires-before 14d --last-used-after -7d",
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.app.tokens(cmd.Context(), &o) },
	}
	cmd.AddCommand(c.app.tokensHistory())
	flags := cmd.Flags()
	inGroup(flags, flagsSelection, func(flags *pflag.FlagSet) {
		flags.BoolVar(&o.inactiveOwner, "inactive-owner", false, "owner is deactivated or gone")
		flags.BoolVar(&o.noExpiry, "no-expiry", false, "token never expires")
		flags.BoolVar(&o.neverUsed, "never-used", false, "token was never used")
		flags.BoolVar(&o.expired, "expired", false, "token has expired")
		flags.BoolVar(&o.admin, "admin", false, "owner is a workspace admin")
		flags.StringVar(&o.comment, "comment", "", "comment matches this `glob`")
		flags.StringSliceVar(&o.policies, "policy", nil, "token breaks one of these policies: `ids` or aliases")
		config.OwnPlace(flags, "policy") // elsewhere it names directories
		o.created.addFlags(flags, "created", "created")
		o.expires.addFlags(flags, "expires", "expires")
		o.lastUsed.addFlags(flags, "last-used", "was last used")
	})
	o.addFlags(flags, "", engine.SortedKeys(tokenOrders))
	flags.StringSliceVar(&o.snapshots, "snapshot", nil, "snapshots to list: `ids`, days, or latest~1 (default: the newest)")
	flags.Var(instantFlag(&o.asOf), "as-of", "count days from this moment (default: of the newest snapshot)")
	o.product.addFlags(flags, "table", "csv", "json")
	return cmd
}

// tokenOrders are the columns that tokens can be ordered by. What is unknown, and
// what never comes, stands last.
var tokenOrders = map[string]func(a, b engine.TokenRow) int{
	"workspace": func(a, b engine.TokenRow) int { return cmp.Compare(a.Workspace.Name, b.Workspace.Name) },
	"owner": func(a, b engine.TokenRow) int {
		return cmp.Compare(strings.ToLower(a.Owner.Label()), strings.ToLower(b.Owner.Label()))
	},
	"created":   func(a, b engine.TokenRow) int { return compareKnown(a.Token.Created, b.Token.Created) },
	"expires":   func(a, b engine.TokenRow) int { return compareKnown(dated(a.Token.Expires), dated(b.Token.Expires)) },
	"last-used": func(a, b engine.TokenRow) int { return compareKnown(a.Facts.LastUsed, b.Facts.LastUsed) },
	"idle":      func(a, b engine.TokenRow) int { return compareKnown(a.Facts.IdleDays, b.Facts.IdleDays) },
	"comment":   func(a, b engine.TokenRow) int { return cmp.Compare(a.Token.Comment, b.Token.Comment) },
}

func compareKnown(a, b *int64) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Compare(*a, *b)
}

func (a *app) tokens(ctx context.Context, o *tokensOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	var order func(x, y engine.TokenRow) int // nil: as they are stored
	if o.sort != "" {
		var err error
		if order, err = orderBy(o.sort, tokenOrders); err != nil {
			return err
		}
	}
	return a.withProduct(ctx, &o.product, func(db *store.DB) error {
		snapshots, err := a.StoredSnapshots(ctx, db, o.snapshots)
		if err != nil {
			return err
		}
		breaks := func(workspace, token string) bool { return true }
		if len(o.policies) > 0 {
			report, err := a.Evaluation(ctx, db, 0)
			if err != nil {
				return err
			}
			named, err := policiesNamed(report, o.policies)
			if err != nil {
				return err
			}
			broken, err := brokenPolicies(report)
			if err != nil {
				return err
			}
			breaks = func(workspace, token string) bool {
				return slices.ContainsFunc(broken[[2]string{workspace, token}], func(policy string) bool { return named[policy] })
			}
		}
		rows := pipeline.Pseudonymised(&a.Run, o.rows(ctx, db, snapshots, pipeline.AsOf(snapshots, o.asOf), breaks))
		if order != nil {
			var all []engine.TokenRow
			for row, err := range rows {
				if err != nil {
					return err
				}
				all = append(all, row)
			}
			slices.SortStableFunc(all, order)
			rows = table.Known(all)
		}
		if err := a.writeProduct(ctx, db, &o.product, snapshots, func(w io.Writer, options table.Options) error {
			options.Limit = o.limit
			return reports.Tokens(ctx, w, o.product.format.word, rows, options)
		}); err != nil {
			return err
		}
		return a.tokensCovered(snapshots)
	})
}

// brokenPolicies are the policies that each token breaks, by workspace and token.
func brokenPolicies(report engine.Report) (map[[2]string][]string, error) {
	broken := map[[2]string][]string{}
	for f, err := range report.Findings {
		if err != nil {
			return nil, err
		}
		if f.Resource == engine.ResourceToken && f.Status == engine.Fail {
			key := [2]string{f.WorkspaceID, f.ResourceID}
			broken[key] = append(broken[key], f.Policy)
		}
	}
	return broken, nil
}

// tokensCovered fails when a list cannot be complete: an empty list must not
// look like a workspace without tokens.
func (a *app) tokensCovered(snapshots []engine.Snapshot) error {
	var err error
	for _, s := range snapshots {
		if c := s.Coverage[engine.SectionTokens]; !c.Complete() {
			a.say("%s: tokens %s (%s) %s", s.Workspace.Name, c.Status, c.Reason, c.Detail)
			err = verdict(engine.Incomplete)
		}
	}
	return err
}

// rows are the tokens that pass every filter.
func (o *tokensOptions) rows(ctx context.Context, db *store.DB, snapshots []engine.Snapshot, when time.Time, breaks func(workspace, token string) bool) iter.Seq2[engine.TokenRow, error] {
	return func(yield func(engine.TokenRow, error) bool) {
		for _, snapshot := range snapshots {
			if !o.workspace(snapshot.Workspace) || !snapshot.Coverage[engine.SectionTokens].Usable() {
				continue
			}
			for subject, err := range db.Subjects(ctx, snapshot.ID, when, false) {
				if err == nil && (!o.keeps(subject, when) || !breaks(snapshot.Workspace.ID, subject.Token.ID)) {
					continue
				}
				row := engine.TokenRow{Workspace: snapshot.Workspace, Subject: subject}
				if !yield(row.Redacted(), err) || err != nil {
					return
				}
			}
		}
	}
}

func (o *tokensOptions) keeps(s engine.Subject, when time.Time) bool {
	return anyGlob(o.owners, s.Owner.Label(), s.Owner.ID) &&
		(!o.inactiveOwner || s.Owner.Active != nil && !*s.Owner.Active) &&
		(!o.noExpiry || holds(s.Facts.NeverExpires)) &&
		(!o.neverUsed || s.Facts.Used != nil && !*s.Facts.Used) &&
		(!o.expired || holds(s.Facts.Expired)) &&
		(!o.admin || holds(s.Owner.Admin)) &&
		(o.kind == "" || string(s.Owner.Kind) == o.kind) &&
		engine.MatchGlob(o.comment, s.Token.Comment) &&
		o.created.contains(s.Token.Created, when) &&
		o.expires.contains(dated(s.Token.Expires), when) &&
		o.lastUsed.contains(s.Facts.LastUsed, when)
}

func holds(fact *bool) bool { return fact != nil && *fact }

// dated is an expiry, nil for a token that never expires.
func dated(expires *int64) *int64 {
	if expires != nil && *expires == engine.NeverExpires {
		return nil
	}
	return expires
}

// span is a pair of flags, --X-after and --X-before: a range of time, both ends included.
type span struct{ after, before moment }

func (s *span) addFlags(flags *pflag.FlagSet, name, verb string) {
	flags.Var(&s.after, name+"-after", verb+" at this moment or later")
	flags.Var(&s.before, name+"-before", verb+" before this moment; of a day: before it begins")
}

func (s *span) contains(ms *int64, when time.Time) bool {
	if !s.after.set && !s.before.set {
		return true
	}
	if ms == nil {
		return false
	}
	return (!s.after.set || *ms >= s.after.at(when)) && (!s.before.set || *ms < s.before.at(when))
}

// moment is a point in time, absolute or so many days from the snapshot.
type moment struct {
	set      bool
	relative bool
	days     int64
	absolute time.Time
}

func (m *moment) Set(text string) error {
	m.set = true
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		if err == nil {
			m.relative, m.days = true, n
			return nil
		}
	}
	var err error
	if m.absolute, err = parseInstant(text); err != nil {
		return fmt.Errorf("%q is neither a day, a time (RFC 3339), nor a number of days such as 30d or -30d", text)
	}
	return nil
}

func (m *moment) String() string {
	if m.relative {
		return fmt.Sprintf("%dd", m.days)
	}
	return instantText(m.absolute)
}

func (m *moment) Type() string { return "moment" }

func (m *moment) at(when time.Time) int64 {
	if m.relative {
		return when.UnixMilli() + m.days*engine.Day
	}
	return m.absolute.UnixMilli()
}

func (a *app) tokensHistory() *cobra.Command {
	var format choice
	var journal string
	cmd := &cobra.Command{
		Use:   "history ID",
		Short: "Show all that the database remembers of a token",
		Long: "Prints what is known of a token, by its id or the beginning of it: when snapshots first saw it, how it changed, how its last use moved, what\n" +
			"policies found and for how long, and when and why it vanished. Ids are unique in a workspace; of several that fit all are told.\n\n" + exitHelp(),
		Example: "  patrol tokens history 3922b2f6",
		Args:    cobra.ExactArgs(1),
		RunE: a.reading(func(ctx context.Context, db *store.DB, args []string) error {
			return a.tokenHistory(ctx, db, args[0], journal, format.word)
		}),
	}
	addFormatFlag(cmd.Flags(), &format, "table", "json")
	addJournalFlag(cmd.Flags(), &journal)
	return cmd
}

func (a *app) tokenHistory(ctx context.Context, db *store.DB, id, journal, format string) error {
	if id == "" {
		return engine.UsageError("read argument", "ID", "See `patrol tokens` for the ids.", errors.New("is empty"))
	}
	found, err := db.TokenHistory(ctx, id)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return engine.UsageError("find token", id, "See `patrol tokens` for the ids; expired and revoked ones are known as long as their snapshots are kept.",
			errors.New("no snapshot holds one whose id begins so"))
	}
	removals, err := a.Removals(ctx, db, journal)
	if err != nil {
		return err
	}
	var histories []reports.History
	for _, h := range found {
		h = engine.Pseudonymised(a.Names, h)
		events := h.Events(func(t engine.Token, at int64) (engine.Cause, string) {
			return removals.Why(h.Workspace.ID, &t, time.UnixMilli(at))
		})
		histories = append(histories, reports.History{Workspace: h.Workspace.Name, WorkspaceID: h.Workspace.ID, TokenID: h.Versions[0].Token.ID, Events: events})
	}
	if format == "table" {
		return reports.HistoryTable(a.env.stdout, histories, a.listOptions("-"))
	}
	return a.writeJSON(histories)
}
