package reports

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

const coverSheet = "Cover"

// front adds the worksheets that stand before all others.
func (b *book) front() error {
	for _, name := range []string{coverSheet, chartsSheet} {
		if _, err := b.file.NewSheet(name); err != nil {
			return err
		}
	}
	return b.file.MoveSheet(coverSheet, summarySheet)
}

// cover writes what an auditor asks first: what was looked at, when, how, and
// what is missing. contents are the worksheets, in order.
func (b *book) cover(r engine.Report, contents []string) error {
	s := &sheet{book: b, name: coverSheet, part: 1, widths: []float64{30, 24, 40, 24, 70}}
	if err := b.printable(coverSheet, s.widths); err != nil {
		return err
	}
	var err error
	if s.out, err = b.file.NewStreamWriter(coverSheet); err != nil {
		return err
	}
	for i, width := range s.widths {
		if err := s.out.SetColWidth(i+1, i+1, width); err != nil {
			return err
		}
	}
	waivers, err := waiverDigest(r.Exceptions)
	if err != nil {
		return err
	}
	for _, rows := range [][][]any{b.coverHead(r), b.completeness(r), b.method(), b.scope(r), b.digests(engine.InForceDigest(r.Policies), waivers)} {
		if err := s.block(rows); err != nil {
			return err
		}
	}
	if err := s.contents(contents); err != nil {
		return err
	}
	return s.out.Flush()
}

func (b *book) coverHead(r engine.Report) [][]any {
	from, to := period(r)
	rows := append([][]any{{excelize.Cell{StyleID: b.styles.title, Value: "Databricks personal access tokens: audit"}}}, b.whatIf(r)...)
	return append(rows, [][]any{
		b.pair("Judged as of", table.Instant(r.AsOf.UnixMilli()), table.KindDate),
		b.pair("Data collected from", from, table.KindDate),
		b.pair("Data collected until", to, table.KindDate),
		b.pair("Workspaces", r.Summary.Workspaces, table.KindLeft),
		b.pair("Tokens", r.Summary.Tokens, table.KindLeft),
		b.pair("Policies", len(r.Policies), table.KindLeft),
		{b.label("Verdict"), b.verdict(r.Verdict())},
		b.pair("Made by", strings.TrimSpace("patrol "+r.Version), table.KindPlain),
	}...)
}

// period is when the first and the last snapshot was collected.
func period(r engine.Report) (from, to any) {
	if len(r.Workspaces) == 0 {
		return nil, nil
	}
	first, last := r.Workspaces[0].Snapshot.CollectedAt, r.Workspaces[0].Snapshot.CollectedAt
	for _, w := range r.Workspaces {
		if at := w.Snapshot.CollectedAt; at.Before(first) {
			first = at
		} else if at.After(last) {
			last = at
		}
	}
	return table.Instant(first.UnixMilli()), table.Instant(last.UnixMilli())
}

// completeness states how much was read, and lists what was not.
func (b *book) completeness(r engine.Report) [][]any {
	whole := 0
	var gaps [][]any
	for _, w := range r.Workspaces {
		missing := w.Snapshot.Gaps()
		if len(missing) == 0 {
			whole++
		}
		for _, gap := range missing {
			gaps = append(gaps, []any{
				b.cell(table.KindPlain, w.Snapshot.Workspace.Name), b.cell(table.KindID, w.Snapshot.Workspace.ID), b.cell(table.KindPlain, gap.Names()),
				b.cell(table.KindPlain, string(gap.Coverage.Status)), b.cell(table.KindWrapped, gap.Coverage.Detail),
			})
		}
	}
	rows := [][]any{b.header("Completeness", "")}
	rows = append(rows,
		b.pair("Workspaces expected", len(r.Workspaces), table.KindLeft),
		b.pair("Workspaces read whole", whole, table.KindLeft),
		b.pair("Results that are unknown", r.Summary.Statuses[engine.Unknown]+r.Summary.Statuses[engine.Errored], table.KindLeft),
		b.pair("Statement", statement(r, whole), table.KindPlain),
	)
	if len(gaps) == 0 {
		return rows
	}
	rows = append(rows, b.header("Not covered: workspace", "Workspace id", "Sections", "Status", "Why"))
	return append(rows, gaps...)
}

func statement(r engine.Report, whole int) string {
	text := "Everything that was asked for was read."
	if whole < len(r.Workspaces) {
		text = "Not everything was read: what rests on the missing sections is unknown in this workbook, never passed."
	}
	if off := offText(r); off != "" {
		text += " " + off
	}
	if r.Narrowed {
		text += " Only some policies were chosen for this audit."
	}
	return text
}

func (b *book) method() [][]any {
	rows := [][]any{b.header("Method", "")}
	for _, text := range []string{
		"Tokens, principals, settings and permissions are read through the workspaces' own API; only reading requests are sent.",
		"Each read is kept as a snapshot that never changes; its digest covers every row and the digest of the snapshot before.",
		"Each policy (sheet Policies) judges each token or workspace on facts of the snapshot alone, as of the moment above.",
		"A fact that could not be read makes a result unknown. A waived or baselined finding stays listed, with who, why and until when.",
		"Ages and idle days are whole days rounded down, lifetimes rounded up; the platform records last use by the day. All times are UTC.",
	} {
		rows = append(rows, []any{b.cell(table.KindPlain, text)})
	}
	return rows
}

func (b *book) scope(r engine.Report) [][]any {
	rows := [][]any{b.header("Scope: workspace", "Workspace id", "Host", "Collected at", "Digest of the snapshot")}
	for _, w := range r.Workspaces {
		s := w.Snapshot
		rows = append(rows, []any{
			b.cell(table.KindPlain, s.Workspace.Name), b.cell(table.KindID, s.Workspace.ID), b.cell(table.KindPlain, s.Workspace.Host),
			b.cell(table.KindDate, table.Instant(s.CollectedAt.UnixMilli())), b.cell(table.KindID, s.Digest),
		})
	}
	return rows
}

func (b *book) digests(policies, waivers string) [][]any {
	rows := [][]any{b.header("Digests (SHA-256)", "")}
	return append(rows, b.pair("Policies and parameters", policies, table.KindID), b.pair("Waivers and baseline", waivers, table.KindID))
}

func waiverDigest(x engine.Exceptions) (string, error) {
	if x.None() {
		return "none", nil
	}
	rules := make([]engine.WaiverRule, len(x.Waivers))
	for i, w := range x.Waivers {
		rules[i] = w.WaiverRule
	}
	text, err := table.JSONText([]any{rules, x.Baseline})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}

// contents lists the worksheets, each a link.
func (s *sheet) contents(names []string) error {
	if err := s.write(s.book.header("Sheets", ""), 1); err != nil {
		return err
	}
	for _, name := range names {
		s.link = link{0, location(name, 1)}
		cells := []any{s.book.cell(table.KindPlain, name)}
		s.linked(cells)
		if err := s.write(cells, 1); err != nil {
			return err
		}
		if err := s.follow(); err != nil {
			return err
		}
	}
	return nil
}
