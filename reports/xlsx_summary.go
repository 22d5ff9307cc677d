package reports

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

// blocks writes a worksheet of blocks of rows, with columns of these widths.
func (b *book) blocks(name string, widths []float64, blocks ...[][]any) error {
	s, err := b.open(name, widths)
	if err != nil {
		return err
	}
	for _, block := range blocks {
		if err := s.block(block); err != nil {
			return err
		}
	}
	return s.out.Flush()
}

// open begins a worksheet that is no table.
func (b *book) open(name string, widths []float64) (s *sheet, err error) {
	s = &sheet{book: b, name: name, part: 1, widths: widths}
	if err := b.printable(name, widths); err != nil {
		return nil, err
	}
	if s.out, err = b.file.NewStreamWriter(name); err != nil {
		return nil, err
	}
	for i, width := range widths {
		if err := s.out.SetColWidth(i+1, i+1, width); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// summarise writes the first worksheet: the verdict, the counts, and what is
// missing.
func (b *book) summarise(r engine.Report) error {
	return b.blocks(summarySheet, []float64{28, 20, 14, 16, 20, 12, 20, 50, 60},
		b.headline(r), b.counts(r), b.worstWorkspaces(r), b.worstPolicies(r), b.changes(r.Trend), b.coverage(r), b.manifest())
}

// block writes rows and an empty one after them.
func (s *sheet) block(rows [][]any) error {
	for _, row := range rows {
		if err := s.write(row, s.height(row)); err != nil {
			return err
		}
	}
	s.row++
	return nil
}

// height of a row: only the last two columns wrap.
func (s *sheet) height(row []any) int {
	height := 1
	if s.row == 0 {
		height = 2 // the title
	}
	for i := len(s.widths) - 2; i < len(row); i++ {
		height = max(height, linesIn(row[i], s.widths[i]))
	}
	return height
}

func (b *book) headline(r engine.Report) [][]any {
	rows := [][]any{{excelize.Cell{StyleID: b.styles.title, Value: "Audit of Databricks personal access tokens"}}}
	rows = append(rows, b.whatIf(r)...)
	rows = append(rows, [][]any{
		b.pair("As of", table.Instant(r.AsOf.UnixMilli()), table.KindDate),
		{b.label("Verdict"), b.verdict(r.Verdict())},
		b.pair("Meaning", explain(r), table.KindPlain),
		b.pair("Fails on", r.FailOn.String(), table.KindPlain),
		b.pair("Tokens", r.Summary.Tokens, table.KindLeft),
		b.pair("Workspaces", r.Summary.Workspaces, table.KindLeft),
		b.pair("Made by", strings.TrimSpace("patrol "+r.Version), table.KindPlain),
	}...)
	return rows
}

// whatIf marks a workbook that says what would be.
func (b *book) whatIf(r engine.Report) [][]any {
	if r.WhatIf == "" {
		return nil
	}
	return [][]any{{excelize.Cell{StyleID: b.styles.status[engine.Unknown], Value: "What if"}, b.cell(table.KindPlain, WhatIf(r))}}
}

func (b *book) pair(label string, value any, k table.Kind) []any {
	return []any{b.label(label), b.cell(k, value)}
}

func (b *book) label(text string) any { return excelize.Cell{StyleID: b.styles.label, Value: text} }

func (b *book) verdict(v engine.Verdict) any {
	style := b.styles.label
	if v != engine.Clean {
		style = b.styles.status[engine.Unknown]
	}
	if v == engine.Violations {
		style = b.styles.severity[engine.High]
	}
	return excelize.Cell{StyleID: style, Value: string(v)}
}

// counts is a table of results by outcome and severity.
func (b *book) counts(r engine.Report) [][]any {
	head := b.header("Results", "All")
	tallies := []engine.Tally{r.Summary.Statuses}
	for _, level := range engine.Severities() {
		head = append(head, b.cell(table.KindPlain, level))
		tallies = append(tallies, r.Summary.Severities[level])
	}
	rows := [][]any{head}
	for _, status := range findingsFirst() {
		row := []any{b.label(table.Heading(string(status)))}
		for _, tally := range tallies {
			row = append(row, b.cell(table.KindNumber, tally[status]))
		}
		rows = append(rows, row)
	}
	return rows
}

func findingsFirst() []engine.Status {
	order := engine.Statuses()
	slices.SortStableFunc(order, func(a, b engine.Status) int { return rank(a) - rank(b) })
	return order
}

func rank(s engine.Status) int {
	if s.Finding() {
		return 0
	}
	return 1
}

// changes is a table of what changed since the snapshots before.
func (b *book) changes(t *engine.Trend) [][]any {
	if t == nil {
		return [][]any{b.header("Changes", ""), b.pair("Since", "no snapshot before was judged", table.KindPlain)}
	}
	head := b.header("Changes", "All")
	for _, level := range engine.Severities() {
		head = append(head, b.cell(table.KindPlain, level))
	}
	rows := [][]any{head, b.pair("Since", table.Instant(t.Since.UnixMilli()), table.KindDate)}
	if !t.Earliest.IsZero() {
		rows = append(rows, b.pair("Oldest verdict compared", table.Instant(t.Earliest.UnixMilli()), table.KindDate))
	}
	for _, change := range engine.Changes() {
		row := []any{b.label(table.Heading(changeWord(change))), b.cell(table.KindNumber, t.Count(change))}
		for _, level := range engine.Severities() {
			row = append(row, b.cell(table.KindNumber, t.Counts[change][level]))
		}
		rows = append(rows, row)
	}
	if text := timesToFix(t); text != "" {
		rows = append(rows, []any{b.cell(table.KindPlain, text)})
	}
	return rows
}

// worstShown bounds the workspaces and policies that the summary names.
const worstShown = 10

// worstWorkspaces are those with the most and the gravest failed results.
func (b *book) worstWorkspaces(r engine.Report) [][]any {
	list := slices.DeleteFunc(workspaceViews(r.Workspaces), func(w workspaceView) bool { return w.Failed == 0 })
	slices.SortStableFunc(list, func(x, y workspaceView) int { return y.Failed - x.Failed })
	rows := [][]any{b.header("Worst workspaces", "Workspace id", "Failed", "Not judged", "Tokens")}
	for _, w := range list[:min(worstShown, len(list))] {
		rows = append(rows, []any{b.cell(table.KindPlain, w.Name), b.cell(table.KindID, w.ID), b.cell(table.KindNumber, w.Failed), b.cell(table.KindNumber, w.Undecided), b.cell(table.KindNumber, w.Tokens)})
	}
	return append(rows, b.others(len(list), "workspace")...)
}

// worstPolicies are those that failed most, the gravest first.
func (b *book) worstPolicies(r engine.Report) [][]any {
	list := slices.DeleteFunc(slices.Clone(r.Policies), func(p engine.PolicyReport) bool { return p.Tally[engine.Fail] == 0 })
	slices.SortStableFunc(list, func(x, y engine.PolicyReport) int {
		return cmp.Or(x.Policy.Severity.Rank()-y.Policy.Severity.Rank(), y.Tally[engine.Fail]-x.Tally[engine.Fail])
	})
	rows := [][]any{b.header("Worst policies", "Severity", "Failed", "Evaluated", "Title")}
	for _, p := range list[:min(worstShown, len(list))] {
		rows = append(rows, []any{b.cell(table.KindPlain, p.Policy.ID), b.cell(table.KindPlain, p.Policy.Severity), b.cell(table.KindNumber, p.Tally[engine.Fail]),
			b.cell(table.KindNumber, p.Tally.Evaluated()), b.cell(table.KindPlain, p.Policy.Title)})
	}
	return append(rows, b.others(len(list), "policy")...)
}

func (b *book) others(all int, noun string) [][]any {
	switch {
	case all == 0:
		return [][]any{{b.cell(table.KindPlain, "none failed")}}
	case all > worstShown:
		return [][]any{{b.cell(table.KindPlain, "… and "+engine.Plural(all-worstShown, noun)+" more")}}
	}
	return nil
}

// coverage is a table of what was not read whole. What was, and what nobody asked
// for, is counted: with hundreds of workspaces it would hide the rest.
func (b *book) coverage(r engine.Report) [][]any {
	rows := [][]any{b.header("Coverage: workspace", "Workspace id", "Section", "Status", "Reason", "Rows read", "Collected at", "Detail", "Hint")}
	whole, unasked := 0, map[engine.SectionName]int{}
	for _, w := range r.Workspaces {
		for _, name := range engine.SortedKeys(w.Snapshot.Coverage) {
			switch c := w.Snapshot.Coverage[name]; {
			case c.Reason == engine.ReasonNotRequested:
				unasked[name]++
			case c.Status == engine.Complete:
				whole++
			default:
				rows = append(rows, b.coverageRow(w.Snapshot, name))
			}
		}
	}
	rows = append(rows, b.pair("Read whole", engine.Plural(whole, "section")+" of "+engine.Plural(len(r.Workspaces), "workspace"), table.KindPlain))
	for _, name := range engine.SortedKeys(unasked) {
		rows = append(rows, b.pair("Not requested", string(name)+" in "+engine.Plural(unasked[name], "workspace"), table.KindPlain))
	}
	return rows
}

func (b *book) coverageRow(s engine.Snapshot, name engine.SectionName) []any {
	c := s.Coverage[name]
	state := b.cell(table.KindPlain, string(c.Status))
	if !c.Covered() && c.Status != engine.NotCollected {
		state = excelize.Cell{StyleID: b.styles.status[engine.Unknown], Value: string(c.Status)}
	}
	return []any{
		b.cell(table.KindPlain, s.Workspace.Name), b.cell(table.KindID, s.Workspace.ID), b.cell(table.KindPlain, string(name)), state,
		b.cell(table.KindPlain, c.Reason), b.cell(table.KindNumber, c.Count), b.cell(table.KindDate, table.Instant(s.CollectedAt.UnixMilli())),
		b.cell(table.KindWrapped, c.Detail), b.cell(table.KindWrapped, c.Hint),
	}
}

// manifest tells what of the report a worksheet could not hold.
func (b *book) manifest() [][]any {
	rows := [][]any{b.header("What did not fit", "")}
	rows = append(rows, b.pair("Cells cut (marked …[cut])", b.cut, table.KindLeft))
	split := "none"
	if len(b.split) > 0 {
		split = fmt.Sprintf("%s: a worksheet holds %d rows", strings.Join(b.split, ", "), b.rows)
	}
	rows = append(rows, b.pair("Further worksheets", split, table.KindPlain))
	return append(rows, b.pair("Links", fmt.Sprintf("the first %d rows of a worksheet lead to their policies", maxLinks), table.KindPlain))
}

func (b *book) header(names ...string) []any {
	cells := make([]any, len(names))
	for i, name := range names {
		cells[i] = excelize.Cell{StyleID: b.styles.header, Value: name}
	}
	return cells
}

// bucket is a bar of a chart.
type bucket struct {
	label string
	count int
}

// population counts tokens for the charts, as their rows stream by.
type population struct {
	asOf   time.Time
	age    []bucket
	idle   []bucket
	expiry []bucket // by month
}

// monthsAhead is how far the calendar of expiries reaches: new tokens live for
// two years at most.
const monthsAhead = 25

func newPopulation(asOf time.Time) *population {
	p := &population{asOf: asOf.UTC()}
	p.age = buckets("up to 30 days", "31 to 90", "91 to 180", "181 to 365", "366 to 730", "over 730", "unknown")
	p.idle = buckets("up to 7 days", "8 to 30", "31 to 60", "61 to 89", "90 and more", "never used", "unknown")
	p.expiry = buckets("expired")
	first := time.Date(p.asOf.Year(), p.asOf.Month(), 1, 0, 0, 0, 0, time.UTC)
	for month := range monthsAhead {
		p.expiry = append(p.expiry, bucket{label: first.AddDate(0, month, 0).Format("2006-01")})
	}
	p.expiry = append(p.expiry, buckets("later", "never", "unknown")...)
	return p
}

// months are the bars of the calendar without empty months behind the last one in
// which a token ends.
func (p *population) months() []bucket {
	last := len(p.expiry) - 3 // later, never, unknown
	end := last
	for end > 2 && p.expiry[end-1].count == 0 && p.expiry[last].count == 0 {
		end--
	}
	return append(slices.Clone(p.expiry[:end]), p.expiry[last:]...)
}

func buckets(labels ...string) []bucket {
	list := make([]bucket, len(labels))
	for i, label := range labels {
		list[i].label = label
	}
	return list
}

// watch counts rows on their way.
func (p *population) watch(rows iter.Seq2[engine.TokenRow, error]) iter.Seq2[engine.TokenRow, error] {
	return func(yield func(engine.TokenRow, error) bool) {
		for row, err := range rows {
			if err == nil {
				p.add(row)
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

func (p *population) add(t engine.TokenRow) {
	p.age[rangeOf(t.Facts.AgeDays, 30, 90, 180, 365, 730)].count++
	p.idle[idleBucket(t.Facts)].count++
	p.expiry[p.expiryBucket(t)].count++
}

// rangeOf is the place of a number among limits, each the last of its range;
// the place after the last range is for the unknown.
func rangeOf(days *int64, limits ...int64) int {
	if days == nil {
		return len(limits) + 1
	}
	for i, limit := range limits {
		if *days <= limit {
			return i
		}
	}
	return len(limits)
}

func idleBucket(f engine.Facts) int {
	if f.Used == nil || f.IdleDays == nil {
		return 6
	}
	if !*f.Used {
		return 5
	}
	return rangeOf(f.IdleDays, 7, 30, 60, 89)
}

func (p *population) expiryBucket(t engine.TokenRow) int {
	last := len(p.expiry) - 1
	switch {
	case t.Facts.NeverExpires == nil:
		return last
	case *t.Facts.NeverExpires:
		return last - 1
	case *t.Facts.Expired:
		return 0
	}
	end := time.UnixMilli(*t.Token.Expires).UTC()
	months := (end.Year()-p.asOf.Year())*12 + int(end.Month()) - int(p.asOf.Month())
	return 1 + min(max(months, 0), monthsAhead)
}

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
	s, err := b.open(coverSheet, []float64{30, 24, 40, 24, 70})
	if err != nil {
		return err
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
	rows := [][]any{b.header("Scope: workspace", "Workspace id", "Host", "Collected at", digestHeader)}
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

const chartsSheet = "Charts"

// chart is a picture of a small table that stands on the same worksheet.
type chart struct {
	title  string
	axis   string // what the bars stand for
	bars   []bucket
	colour string
}

// charts writes the tables in the first columns and the pictures beside them.
func (b *book) charts(r engine.Report, p *population) error {
	findings := make([]bucket, 0, len(engine.Severities()))
	for _, level := range engine.Severities() {
		findings = append(findings, bucket{string(level), r.Summary.Failed(level)})
	}
	row := 1
	for i, c := range []chart{
		{"Findings by severity", "failed results", findings, "C2410C"},
		{"Age of tokens", "tokens", p.age, "1D4ED8"},
		{"Days since last use", "tokens", p.idle, "1D4ED8"},
		{"Expiry by month", "tokens", p.months(), "0F766E"},
	} {
		if err := b.chart(c, row, 1+i*18); err != nil {
			return err
		}
		row += len(c.bars) + 2
	}
	if err := b.file.SetColWidth(chartsSheet, "A", "B", 24); err != nil {
		return err
	}
	if err := b.file.SetSheetProps(chartsSheet, &excelize.SheetPropsOptions{FitToPage: ptr(true)}); err != nil {
		return err
	}
	return b.file.SetPageLayout(chartsSheet, &excelize.PageLayoutOptions{Orientation: ptr("portrait"), FitToWidth: ptr(1), FitToHeight: ptr(1)})
}

// chart writes a table from a row on, and its picture at a line of the sheet.
func (b *book) chart(c chart, row, line int) error {
	header := b.header(c.title, c.axis)
	if err := b.plainRow(row, header); err != nil {
		return err
	}
	for i, bar := range c.bars {
		cells := []any{b.cell(table.KindPlain, bar.label), b.cell(table.KindNumber, bar.count)}
		if err := b.plainRow(row+1+i, cells); err != nil {
			return err
		}
	}
	last := row + len(c.bars)
	return b.file.AddChart(chartsSheet, fmt.Sprintf("D%d", line), &excelize.Chart{
		Type: excelize.Col,
		Series: []excelize.ChartSeries{{
			Name:       fmt.Sprintf("%s!$A$%d", chartsSheet, row),
			Categories: fmt.Sprintf("%s!$A$%d:$A$%d", chartsSheet, row+1, last),
			Values:     fmt.Sprintf("%s!$B$%d:$B$%d", chartsSheet, row+1, last),
			Fill:       excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{c.colour}},
		}},
		Title:     excelize.ChartTitle{Paragraph: []excelize.RichTextRun{{Text: c.title}}},
		Legend:    excelize.ChartLegend{Position: "none"},
		PlotArea:  excelize.ChartPlotArea{ShowVal: true},
		XAxis:     excelize.ChartAxis{Font: excelize.Font{Size: 9, Color: "374151"}},
		YAxis:     excelize.ChartAxis{MajorGridLines: true, Font: excelize.Font{Size: 9, Color: "374151"}},
		Dimension: excelize.ChartDimension{Width: 860, Height: 330},
		Format:    excelize.GraphicOptions{AltText: c.title + ": " + c.axis},
		GapWidth:  ptr(uint(40)),
	})
}

// plainRow writes a row of a worksheet that is small enough to be in memory.
func (b *book) plainRow(row int, cells []any) error {
	for i, value := range cells {
		cell := value.(excelize.Cell)
		ref, err := excelize.CoordinatesToCellName(i+1, row)
		if err != nil {
			return err
		}
		if err := b.file.SetCellValue(chartsSheet, ref, cell.Value); err != nil {
			return err
		}
		if err := b.file.SetCellStyle(chartsSheet, ref, ref, cell.StyleID); err != nil {
			return err
		}
	}
	return nil
}
