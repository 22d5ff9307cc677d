package reports

import (
	"fmt"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

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
