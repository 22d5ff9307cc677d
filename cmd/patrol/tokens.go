package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// tokensOptions are the filters of the vendor's token report.
type tokensOptions struct {
	owner         string
	workspace     string
	inactiveOwner bool
	noExpiry      bool
	neverUsed     bool
	created       span
	expires       span
	lastUsed      span
	snapshots     []string
	asOf          instant
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
		Example: "  patrol tokens --inactive-owner\n  patrol tokens --no-expiry --workspace 'prod-*' --format csv\n" +
			"  patrol tokens --expires-before 14d --last-used-after -7d",
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.tokens(cmd.Context(), &o) },
	}
	cmd.AddCommand(c.tokensHistory())
	flags := cmd.Flags()
	flags.StringVar(&o.owner, "owner", "", "owner's name or id matches this `glob`")
	flags.StringVar(&o.workspace, "workspace", "", "workspace's name or id matches this `glob`")
	flags.BoolVar(&o.inactiveOwner, "inactive-owner", false, "owner is deactivated or gone")
	flags.BoolVar(&o.noExpiry, "no-expiry", false, "token never expires")
	flags.BoolVar(&o.neverUsed, "never-used", false, "token was never used")
	o.created.addFlags(flags, "created", "created")
	o.expires.addFlags(flags, "expires", "expires")
	o.lastUsed.addFlags(flags, "last-used", "was last used")
	flags.StringSliceVar(&o.snapshots, "snapshot", nil, "snapshots to list: `ids`, days, or latest~1 (default: the newest of each workspace)")
	flags.Var(&o.asOf, "as-of", "count ages and days left to this moment (default: when the newest snapshot was taken)")
	o.product.addFlags(flags, "table", "csv", "json")
	return cmd
}

func (a *app) tokens(ctx context.Context, o *tokensOptions) error {
	write := a.tokenWriter(&o.product)
	return a.withProduct(ctx, &o.product, func(db *store.DB) error {
		snapshots, err := a.storedSnapshots(ctx, db, o.snapshots)
		if err != nil {
			return err
		}
		when := asOf(snapshots, o.asOf)
		rows := pseudonymised(a, o.rows(ctx, db, snapshots, when))
		intact := func() error { return db.Intact(ctx, snapshots...) }
		if err := a.writeProduct(outfile.Files{}.OnlyIf(intact), o.product.output, func(w io.Writer) error { return write(ctx, w, rows) }); err != nil {
			return err
		}
		return a.tokensCovered(snapshots)
	})
}

// rowWriter writes a list of tokens in some format.
type rowWriter func(context.Context, io.Writer, iter.Seq2[engine.TokenRow, error]) error

func (a *app) tokenWriter(o *productOptions) rowWriter {
	switch o.format.word {
	case "csv":
		return reports.TokensCSV
	case "json":
		return reports.TokensJSON
	}
	return func(ctx context.Context, w io.Writer, rows iter.Seq2[engine.TokenRow, error]) error {
		return reports.TokensTable(ctx, w, rows, a.listOptions(o.output))
	}
}

// tokensCovered fails when a list cannot be complete: an empty list must not
// look like a workspace without tokens.
func (a *app) tokensCovered(snapshots []engine.Snapshot) error {
	var incomplete bool
	for _, s := range snapshots {
		if c := s.Coverage[engine.SectionTokens]; !c.Complete() {
			incomplete = true
			a.say("%s: tokens %s (%s) %s", s.Workspace.Name, c.Status, c.Reason, c.Detail)
		}
	}
	if incomplete {
		return verdict(engine.Incomplete)
	}
	return nil
}

// rows are the tokens that pass every filter.
func (o *tokensOptions) rows(ctx context.Context, db *store.DB, snapshots []engine.Snapshot, when time.Time) iter.Seq2[engine.TokenRow, error] {
	return func(yield func(engine.TokenRow, error) bool) {
		for _, snapshot := range snapshots {
			if !o.listed(snapshot) {
				continue
			}
			for subject, err := range db.Subjects(ctx, snapshot.ID, when, false) {
				if err == nil && !o.keeps(subject, when) {
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

func (o *tokensOptions) listed(s engine.Snapshot) bool {
	matches := engine.MatchGlob(o.workspace, s.Workspace.Name) || engine.MatchGlob(o.workspace, s.Workspace.ID)
	return matches && s.Coverage[engine.SectionTokens].Usable()
}

func (o *tokensOptions) keeps(s engine.Subject, when time.Time) bool {
	return (engine.MatchGlob(o.owner, s.Owner.Label()) || engine.MatchGlob(o.owner, s.Owner.ID)) &&
		(!o.inactiveOwner || s.Owner.Active != nil && !*s.Owner.Active) &&
		(!o.noExpiry || holds(s.Facts.NeverExpires)) &&
		(!o.neverUsed || s.Facts.Used != nil && !*s.Facts.Used) &&
		o.created.contains(s.Token.Created, when) &&
		o.expires.contains(dated(s.Token.Expires), when) &&
		o.lastUsed.contains(s.Token.LastUsed, when)
}

func holds(fact *bool) bool { return fact != nil && *fact }

// dated is an expiry that lies at some moment: not that of an endless token.
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
	absolute instant
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
	if err := m.absolute.Set(text); err != nil {
		return fmt.Errorf("%q is neither a day, a time (RFC 3339), nor a number of days such as 30d or -30d", text)
	}
	return nil
}

func (m *moment) String() string {
	if m.relative {
		return fmt.Sprintf("%dd", m.days)
	}
	return m.absolute.String()
}

func (m *moment) Type() string { return "moment" }

func (m *moment) at(when time.Time) int64 {
	if m.relative {
		return when.UnixMilli() + m.days*engine.Day
	}
	return m.absolute.UnixMilli()
}
