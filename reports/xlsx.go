package reports

import (
	"context"
	"io"
	"iter"
	"slices"
	"time"

	"patrol/engine"
	"patrol/reports/table"
	"patrol/reports/workbook"
)

// XLSX is the workbook for people: findings and the whole population, to
// filter and to sort.
func (catalogue) XLSX() Format {
	return Format{
		Name: "xlsx",
		File: "audit.xlsx",
		Doc:  "the auditor's workbook: cover, summary, charts, findings, all tokens, policies, frameworks, exceptions",
		Write: func(ctx context.Context, w io.Writer, r engine.Report) error {
			return writeWorkbook(ctx, w, r, workbook.MaxRows)
		},
	}
}

// The first worksheets, which tell of the others.
const (
	coverSheet   = "Cover"
	summarySheet = "Summary"
	chartsSheet  = "Charts"
)

// writeWorkbook writes the worksheets in the order of their tabs, but those last
// that tell of the others: the charts, the summary, the cover.
func writeWorkbook(ctx context.Context, w io.Writer, r engine.Report, rowsPerSheet int) error {
	const title = "Audit of Databricks personal access tokens"
	return workbook.Write(ctx, w, title, r.AsOf, []string{coverSheet, summarySheet, chartsSheet}, func(b *workbook.Book) error {
		b.Rows = rowsPerSheet
		policies, findings := map[string]string{}, map[string]string{} // policy → its row, and its first finding
		for i, p := range r.Policies {
			policies[p.Policy.ID] = workbook.Location("Policies", i+2)
		}
		firstFinding := func(f engine.Finding) string {
			if findings[f.Policy] == "" {
				findings[f.Policy] = b.Here()
			}
			return policies[f.Policy]
		}
		tokens := newPopulation(r.AsOf)
		if err := workbook.Add(ctx, b, workbook.Sheet[engine.Finding]{Name: "Findings", Columns: linked(workbookFindings(r), "policy", firstFinding), Rows: r.Findings}); err != nil {
			return err
		}
		if err := workbook.Add(ctx, b, workbook.Sheet[engine.TokenRow]{Name: "Tokens", Columns: tokenColumns(), Rows: tokens.watch(r.Tokens)}); err != nil {
			return err
		}
		if err := addTable(ctx, b, "Workspaces", workspaceColumns(), r.Workspaces); err != nil {
			return err
		}
		if err := addTable(ctx, b, "Settings", settingColumns(), settingRows(r.Workspaces)); err != nil {
			return err
		}
		if err := addTable(ctx, b, "Grants", grantColumns(), grantRows(r.Workspaces)); err != nil {
			return err
		}
		toFinding := func(p engine.PolicyReport) string { return findings[p.Policy.ID] }
		if err := addTable(ctx, b, "Policies", linked(policyColumns(), "policy", toFinding), r.Policies); err != nil {
			return err
		}
		toPolicy := func(c engine.Control) string { return policies[c.Policies[0]] }
		for _, f := range r.Frameworks() {
			if err := addTable(ctx, b, b.FreeTab(f.Name), linked(controlColumns(r.Policies), "policies", toPolicy), f.Controls); err != nil {
				return err
			}
		}
		if err := addTable(ctx, b, "Exceptions", exceptionColumns(), exceptionRows(r.Exceptions)); err != nil {
			return err
		}
		if err := b.AddCharts(chartsSheet, tokens.charts(r)); err != nil {
			return err
		}
		if err := b.AddBlocks(summarySheet, []float64{28, 20, 14, 16, 20, 12, 20, 50, 60}, summaryBlocks(r, b)...); err != nil {
			return err
		}
		cover, err := coverBlocks(r, b.Tabs()[1:])
		if err != nil {
			return err
		}
		return b.AddBlocks(coverSheet, []float64{30, 24, 40, 24, 70}, cover...)
	})
}

func addTable[T any](ctx context.Context, b *workbook.Book, name string, columns []table.Column[T], rows []T) error {
	return workbook.Add(ctx, b, workbook.Sheet[T]{Name: name, Columns: columns, Rows: table.Known(rows)})
}

// linked makes links of the cells of a column.
func linked[T any](columns []table.Column[T], name string, target func(T) string) []table.Column[T] {
	i := slices.IndexFunc(columns, func(c table.Column[T]) bool { return c.Name == name })
	value := columns[i].Value
	columns[i].Value = func(row T) any { return workbook.Link{Value: value(row), Target: target(row)} }
	return columns
}

// workbookFindings are the columns of findings, with the comment and last use of
// the token behind its owner, and what to do behind the message: a workbook has
// no join.
func workbookFindings(r engine.Report) []table.Column[engine.Finding] {
	of := func(field string, value func(*engine.FindingToken) any) func(engine.Finding) any {
		return func(f engine.Finding) any {
			switch {
			case f.Token == nil:
				return nil
			case slices.Contains(f.Token.Defects, field):
				return table.Unknown{}
			}
			return value(f.Token)
		}
	}
	var columns []table.Column[engine.Finding]
	for _, c := range findingColumns(r.AsOf) {
		columns = append(columns, c)
		switch c.Name {
		case "owner":
			columns = append(columns,
				table.Plain("comment", 34, of("comment", func(t *engine.FindingToken) any { return t.Comment })),
				table.Date("last_used_at", 20, of("last_used_day", func(t *engine.FindingToken) any { return lastUse(t.LastUsed) })))
		case "message":
			columns = append(columns, policyCells(r.Policies)...)
		}
	}
	return columns
}

// population counts tokens for the charts, as their rows stream by.
type population struct {
	asOf   time.Time
	age    []workbook.Bar
	idle   []workbook.Bar
	expiry []workbook.Bar // by month
}

// monthsAhead is how far the calendar of expiries reaches: new tokens live for
// two years at most.
const monthsAhead = 25

func newPopulation(asOf time.Time) *population {
	p := &population{asOf: asOf.UTC()}
	p.age = bars("up to 30 days", "31 to 90", "91 to 180", "181 to 365", "366 to 730", "over 730", "unknown")
	p.idle = bars("up to 7 days", "8 to 30", "31 to 60", "61 to 89", "90 and more", "never used", "unknown")
	p.expiry = bars("expired")
	first := time.Date(p.asOf.Year(), p.asOf.Month(), 1, 0, 0, 0, 0, time.UTC)
	for month := range monthsAhead {
		p.expiry = append(p.expiry, workbook.Bar{Label: first.AddDate(0, month, 0).Format("2006-01")})
	}
	p.expiry = append(p.expiry, bars("later", "never", "unknown")...)
	return p
}

func bars(labels ...string) []workbook.Bar {
	return table.Map(labels, func(label string) workbook.Bar { return workbook.Bar{Label: label} })
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
	p.age[rangeOf(t.Facts.AgeDays, 30, 90, 180, 365, 730)].Count++
	idle := 6
	if used := t.Facts.Used; used != nil && !*used {
		idle = 5
	} else if used != nil && t.Facts.IdleDays != nil {
		idle = rangeOf(t.Facts.IdleDays, 7, 30, 60, 89)
	}
	p.idle[idle].Count++
	last := len(p.expiry) - 1
	switch {
	case t.Facts.NeverExpires == nil:
	case *t.Facts.NeverExpires:
		last--
	case *t.Facts.Expired:
		last = 0
	default:
		end := time.UnixMilli(*t.Token.Expires).UTC()
		months := (end.Year()-p.asOf.Year())*12 + int(end.Month()) - int(p.asOf.Month())
		last = 1 + min(max(months, 0), monthsAhead)
	}
	p.expiry[last].Count++
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

func (p *population) charts(r engine.Report) []workbook.Chart {
	var findings []workbook.Bar
	for _, level := range engine.Severities() {
		findings = append(findings, workbook.Bar{Label: string(level), Count: r.Summary.Failed(level)})
	}
	// The calendar ends with the last month in which a token does.
	last := len(p.expiry) - 3 // later, never, unknown
	end := last
	for end > 2 && p.expiry[end-1].Count == 0 && p.expiry[last].Count == 0 {
		end--
	}
	months := slices.Concat(p.expiry[:end], p.expiry[last:])
	return []workbook.Chart{
		{Title: "Findings by severity", Axis: "failed results", Bars: findings, Colour: "C2410C"},
		{Title: "Age of tokens", Axis: "tokens", Bars: p.age, Colour: "1D4ED8"},
		{Title: "Days since last use", Axis: "tokens", Bars: p.idle, Colour: "1D4ED8"},
		{Title: "Expiry by month", Axis: "tokens", Bars: months, Colour: "0F766E"},
	}
}
