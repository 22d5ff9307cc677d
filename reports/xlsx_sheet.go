package reports

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/klauspost/compress/flate"
	"github.com/xuri/excelize/v2"
)

// fillSheet streams rows to a worksheet, and to further ones of the same name
// with a number when they do not fit on one.
func fillSheet[T any](ctx context.Context, b *book, name string, columns []table.Column[T], rows iter.Seq2[T, error]) error {
	return fillLinked(ctx, b, name, columns, rows, func(*sheet, T) {})
}

// fillLinked does the same; lead says where each row leads.
func fillLinked[T any](ctx context.Context, b *book, name string, columns []table.Column[T], rows iter.Seq2[T, error], lead func(*sheet, T)) error {
	s := &sheet{book: b, name: name}
	for _, c := range columns {
		s.headings = append(s.headings, c.Heading())
		s.widths = append(s.widths, c.Width)
	}
	if err := s.start(); err != nil {
		return err
	}
	cells := make([]any, len(columns))
	err := table.Each(ctx, rows, func(row T) error {
		height := 1
		for i, c := range columns {
			cells[i] = b.cell(c.Kind, c.Value(row))
			if c.Kind == table.KindWrapped {
				height = max(height, linesIn(cells[i], c.Width))
			}
		}
		lead(s, row)
		return s.add(cells, height)
	})
	if err != nil {
		return err
	}
	return s.end()
}

// sheet is a table on one or more worksheets.
type sheet struct {
	book     *book
	name     string
	headings []string
	widths   []float64

	part int // number of the worksheet, from 1
	row  int // last row written on it
	out  *excelize.StreamWriter

	link  link // of the next row
	links int  // on this worksheet
}

// start begins the next worksheet with its header.
func (s *sheet) start() error {
	s.part++
	name := s.tab()
	if _, err := s.book.file.NewSheet(name); err != nil {
		return err
	}
	if err := s.book.printable(name, s.widths); err != nil {
		return err
	}
	var err error
	if s.out, err = s.book.file.NewStreamWriter(name); err != nil {
		return err
	}
	err = s.out.SetPanes(&excelize.Panes{ // the header stays
		Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft",
		Selection: []excelize.Selection{{SQRef: "A2", ActiveCell: "A2", Pane: "bottomLeft"}},
	})
	if err != nil {
		return err
	}
	for i, width := range s.widths {
		if err := s.out.SetColWidth(i+1, i+1, width); err != nil {
			return err
		}
	}
	s.row, s.links = 0, 0
	cells, height := s.header()
	return s.write(cells, height)
}

// tab is the worksheet's name. All names are ours and valid.
func (s *sheet) tab() string { return s.tabOf(s.part) }

func (s *sheet) tabOf(part int) string {
	if part == 1 {
		return s.name
	}
	return fmt.Sprintf("%s (%d)", s.name, part)
}

// nextTab and nextRow are where the next row goes.
func (s *sheet) nextTab() string {
	if s.full() {
		return s.tabOf(s.part + 1)
	}
	return s.tab()
}

func (s *sheet) nextRow() int {
	if s.full() {
		return 2
	}
	return s.row + 1
}

func (s *sheet) full() bool { return s.row > s.book.rows }

func (s *sheet) header() (cells []any, height int) {
	cells = s.book.header(s.headings...)
	for i, cell := range cells {
		height = max(height, linesIn(cell, s.widths[i]-3)) // the filter's button takes room
	}
	return cells, height
}

// add writes a row, on a new worksheet when this one is full.
func (s *sheet) add(cells []any, height int) error {
	if s.full() {
		if err := s.end(); err != nil {
			return err
		}
		if err := s.start(); err != nil {
			return err
		}
		s.book.split = append(s.book.split, s.tab())
	}
	s.linked(cells)
	if err := s.write(cells, height); err != nil {
		return err
	}
	return s.follow()
}

// write writes a row that is so many lines high: not every spreadsheet finds
// the height of wrapped text when it opens a file.
func (s *sheet) write(cells []any, height int) error {
	s.row++
	if height <= 1 {
		return s.out.SetRow(fmt.Sprintf("A%d", s.row), cells)
	}
	points := lineHeight * float64(min(height, highest))
	return s.out.SetRow(fmt.Sprintf("A%d", s.row), cells, excelize.RowOpts{Height: points})
}

const (
	lineHeight = 15.0 // points
	highest    = 20   // lines: a cell's text may have thousands
)

// linesIn estimates the lines that a cell's text takes when it wraps.
func linesIn(cell any, width float64) int {
	shown, ok := cell.(excelize.Cell)
	text, isText := shown.Value.(string)
	if !ok || !isText {
		return 1
	}
	count := 0
	for line := range strings.SplitSeq(text, "\n") {
		count += 1 + int(float64(max(0, utf8.RuneCountInString(line)-1))/max(1, width))
	}
	return count
}

// end completes a worksheet with the filter over all its rows.
func (s *sheet) end() error {
	last, err := excelize.CoordinatesToCellName(len(s.headings), s.row)
	if err != nil {
		return err
	}
	if err := s.book.file.AutoFilter(s.tab(), "A1:"+last, nil); err != nil {
		return err
	}
	if err := s.mark(); err != nil {
		return err
	}
	return s.out.Flush()
}

// printable sets a worksheet up for paper: landscape, with the header on each
// page.
func (b *book) printable(name string, widths []float64) error {
	if err := b.file.SetSheetProps(name, &excelize.SheetPropsOptions{FitToPage: ptr(true)}); err != nil {
		return err
	}
	total := 0.0
	for _, width := range widths {
		total += width
	}
	pages := 1 + int(total/250) // so many side by side keep columns legible
	err := b.file.SetPageLayout(name, &excelize.PageLayoutOptions{
		Orientation: ptr("landscape"), FitToWidth: ptr(pages), FitToHeight: ptr(0),
	})
	if err != nil {
		return err
	}
	return b.file.SetDefinedName(&excelize.DefinedName{
		Name: "_xlnm.Print_Titles", RefersTo: fmt.Sprintf("'%s'!$1:$1", name), Scope: name,
	})
}

// cell makes a worksheet's cell of a column's value. Only strings, numbers and
// dates come out of it: no text can become a formula.
func (b *book) cell(k table.Kind, value any) any {
	switch v := value.(type) {
	case nil:
		return nil
	case table.Unknown:
		return excelize.Cell{StyleID: b.styles.absent, Value: "unknown"}
	case table.Never:
		return excelize.Cell{StyleID: b.styles.absent, Value: "never"}
	case table.Instant:
		return excelize.Cell{StyleID: b.styles.kinds[k], Value: time.UnixMilli(int64(v)).UTC()}
	case excelize.Cell:
		return v
	case int, int64:
		return excelize.Cell{StyleID: b.styles.kinds[k], Value: v}
	case bool:
		return excelize.Cell{StyleID: b.styles.kinds[k], Value: yesNo(v)}
	case engine.Severity:
		return excelize.Cell{StyleID: b.styles.severity[v], Value: engine.Defuse(string(v))}
	case engine.Status:
		return excelize.Cell{StyleID: b.styles.status[v], Value: engine.Defuse(string(v))}
	case engine.ControlStatus:
		return excelize.Cell{StyleID: b.styles.control[v], Value: controlWord(v)}
	case []string:
		return b.textCell(k, engine.Defuse(strings.Join(v, ", ")))
	case table.Lines:
		return b.textCell(k, strings.Join(table.Map(v, engine.Defuse), "\n"))
	}
	return b.textCell(k, engine.Defuse(fmt.Sprint(value)))
}

// textCell makes a cell of harmless text. An empty text makes a cell as well:
// it keeps the long id before it from running over.
func (b *book) textCell(k table.Kind, text string) any {
	shown, cut := cutCell(text)
	if cut {
		b.cut++
	}
	return excelize.Cell{StyleID: b.styles.kinds[k], Value: shown}
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// What a cell of Excel holds.
const (
	cellUnits     = 32_767 // UTF-16 units
	cellLineFeeds = 253
)

// cutCell cuts text where Excel, or worse excelize without a word, would, and
// says in the cell how much is missing.
func cutCell(text string) (shown string, cut bool) {
	if len(text) <= cellUnits && strings.Count(text, "\n") <= cellLineFeeds {
		return text, false
	}
	fits := prefixThatFits(text, cellUnits)
	if fits == len(text) {
		return text, false
	}
	fits = prefixThatFits(text, cellUnits-len(cutMark)-20) // room for the mark and its number
	return text[:fits] + fmt.Sprintf(cutMark, utf8.RuneCountInString(text[fits:])), true
}

const cutMark = "…[cut, %d characters more]"

// prefixThatFits is the length of the longest beginning within the limits.
func prefixThatFits(text string, units int) int {
	feeds := cellLineFeeds
	for i, r := range text {
		units -= utf16.RuneLen(r)
		if r == '\n' {
			feeds--
		}
		if units < 0 || feeds < 0 {
			return i
		}
	}
	return len(text)
}

// maxLinks is how many links a worksheet gets. Excel takes 65,530, but looks
// through all of them for each new one, as excelize does; who reads on beyond
// this many rows has the filter.
const maxLinks = 10_000

// link leads from a cell of the row that is written next to another place of
// the workbook.
type link struct {
	column int    // from 0
	target string // 'Policies'!A2; "" leads nowhere
}

func location(tab string, row int) string {
	return fmt.Sprintf("'%s'!A%d", strings.ReplaceAll(tab, "'", "''"), row)
}

// follow makes the link of the row just written.
func (s *sheet) follow() error {
	l := s.link
	s.link = link{}
	if l.target == "" || s.links >= s.book.links {
		return nil
	}
	s.links++
	cell, err := excelize.CoordinatesToCellName(l.column+1, s.row)
	if err != nil {
		return err
	}
	return s.book.file.SetCellHyperLink(s.tab(), cell, l.target, "Location")
}

// linked shows that a cell is a link, where there is room for one.
func (s *sheet) linked(cells []any) {
	if s.link.target == "" || s.links >= s.book.links {
		return
	}
	if cell, ok := cells[s.link.column].(excelize.Cell); ok {
		cell.StyleID = s.book.styles.link
		cells[s.link.column] = cell
	}
}

// leads tells where the findings of each policy start.
type leads struct {
	policies map[string]string // policy → its row on the sheet of policies
	findings map[string]string // policy → its first finding
}

func newLeads(policies []engine.PolicyReport) *leads {
	l := &leads{policies: map[string]string{}, findings: map[string]string{}}
	for i, p := range policies {
		l.policies[p.Policy.ID] = location("Policies", i+2)
	}
	return l
}

// finding leads from a finding to its policy, and remembers the first.
func (l *leads) finding(s *sheet, f engine.Finding) {
	s.link = link{1, l.policies[f.Policy]}
	if l.findings[f.Policy] == "" {
		l.findings[f.Policy] = location(s.nextTab(), s.nextRow())
	}
}

// policy leads from a policy to its first finding.
func (l *leads) policy(s *sheet, p engine.PolicyReport) {
	s.link = link{0, l.findings[p.Policy.ID]}
}

// control leads from a control to the first of its policies.
func (l *leads) control(s *sheet, c engine.Control) {
	s.link = link{3, l.policies[c.Policies[0]]}
}

// sheetCompression takes a third of the time of the usual level, and makes a workbook
// an eighth larger.
const sheetCompression = 5

// partPacker stands in for the ZIP writer of excelize, which adds worksheets in
// random order and keeps the archive in memory. It compresses each part to a
// spill file and writes the archive from there, sorted by name.
type partPacker struct {
	spill *os.File
	size  int64 // of the spill file
	ended func() error
	parts []*part
	open  *part
}

type part struct {
	packer *partPacker
	header zip.FileHeader
	start  int64
	flate  *flate.Writer
	sorted *bytes.Buffer // collects what has to be put in order first
}

// contentTypes is the part that lists what kinds of parts there are. Excelize
// adds those of pictures in random order.
const contentTypes = "[Content_Types].xml"

// defaults are the elements of that list whose order means nothing.
var defaults = regexp.MustCompile(`(<Default [^>]*></Default>)+`)

// inOrder sorts the elements that a run of defaults holds.
func inOrder(list []byte) []byte {
	return defaults.ReplaceAllFunc(list, func(run []byte) []byte {
		const end = "</Default>"
		elements := strings.SplitAfter(strings.TrimSuffix(string(run), end), end)
		elements[len(elements)-1] += end
		slices.Sort(elements)
		return []byte(strings.Join(elements, ""))
	})
}

// Create starts a part and ends the one before.
func (p *partPacker) Create(name string) (io.Writer, error) {
	if err := p.finish(); err != nil {
		return nil, err
	}
	next := &part{packer: p, start: p.size, header: zip.FileHeader{Name: name, Method: zip.Deflate}}
	var err error
	next.flate, err = flate.NewWriter((*spillWriter)(p), sheetCompression)
	if err != nil {
		return nil, err
	}
	if name == contentTypes {
		next.sorted = &bytes.Buffer{}
	}
	p.open = next
	p.parts = append(p.parts, next)
	return next, nil
}

// Write adds to the part and stops when the context has ended.
func (p *part) Write(b []byte) (int, error) {
	if err := p.packer.ended(); err != nil {
		return 0, err
	}
	if p.sorted != nil {
		return p.sorted.Write(b)
	}
	p.header.CRC32 = crc32.Update(p.header.CRC32, crc32.IEEETable, b)
	p.header.UncompressedSize64 += uint64(len(b))
	return p.flate.Write(b)
}

// AddFS is part of the interface and not used by excelize.
func (p *partPacker) AddFS(fs.FS) error { return errors.ErrUnsupported }

// Close ends the last part. It writes no archive: excelize closes after
// errors, too.
func (p *partPacker) Close() error { return p.finish() }

func (p *partPacker) finish() error {
	if p.open == nil {
		return nil
	}
	done := p.open
	p.open = nil
	if list := done.sorted; list != nil {
		done.sorted = nil
		if _, err := done.Write(inOrder(list.Bytes())); err != nil {
			return err
		}
	}
	if err := done.flate.Close(); err != nil {
		return err
	}
	done.flate = nil // it holds more than half a megabyte
	done.header.CompressedSize64 = uint64(p.size - done.start)
	return nil
}

// spillWriter appends to the spill file.
type spillWriter partPacker

func (s *spillWriter) Write(b []byte) (int, error) {
	n, err := s.spill.Write(b)
	s.size += int64(n)
	return n, err
}

// writeTo writes the archive.
func (p *partPacker) writeTo(w io.Writer) error {
	slices.SortFunc(p.parts, func(a, b *part) int { return strings.Compare(a.header.Name, b.header.Name) })
	archive := zip.NewWriter(w)
	for _, part := range p.parts {
		out, err := archive.CreateRaw(&part.header)
		if err != nil {
			return err
		}
		packed := io.NewSectionReader(p.spill, part.start, int64(part.header.CompressedSize64))
		if _, err := io.Copy(out, packed); err != nil {
			return err
		}
		if err := p.ended(); err != nil {
			return err
		}
	}
	return archive.Close()
}
