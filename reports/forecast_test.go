package reports

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"patrol/engine"
	"patrol/engine/enginetest"

	"pgregory.net/rapid"
)

// icsEvent is an event as a strict reader of RFC 5545 finds it.
type icsEvent struct {
	uid, summary, description string
	from, to                  time.Time
}

// icsProperty is a content line.
type icsProperty struct{ name, params, value string }

// readCalendar reads a calendar as strictly as RFC 5545 puts it, and refuses what
// other readers may let pass.
func readCalendar(text []byte) ([]icsEvent, error) {
	lines, err := contentLines(text)
	if err != nil {
		return nil, err
	}
	c := icsReader{uids: map[string]bool{}}
	for _, line := range lines {
		if err := c.line(line); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	switch {
	case len(c.open) > 0 || !c.ended:
		return nil, errors.New("the calendar does not end")
	case c.components == 0:
		return nil, errors.New("a calendar has one component at least (3.6)")
	}
	return c.events, nil
}

// contentLines unfolds (3.1): lines end in CRLF, have 75 octets at most without
// it, and are folded between characters.
func contentLines(text []byte) (lines []string, err error) {
	rest, ok := strings.CutSuffix(string(text), "\r\n")
	if !ok {
		return nil, errors.New("the last line does not end in CRLF")
	}
	for i, line := range strings.Split(rest, "\r\n") {
		switch {
		case strings.ContainsAny(line, "\r\n"):
			return nil, fmt.Errorf("line %d has a bare CR or LF", i+1)
		case len(line) > 75:
			return nil, fmt.Errorf("line %d has %d octets", i+1, len(line))
		case !utf8.ValidString(line):
			return nil, fmt.Errorf("line %d is no UTF-8", i+1)
		}
		if more, folded := strings.CutPrefix(line, " "); folded && i > 0 {
			lines[len(lines)-1] += more
			continue
		}
		lines = append(lines, line)
	}
	return lines, nil
}

type icsReader struct {
	open       []string // components
	properties []icsProperty
	components int
	ended      bool
	uids       map[string]bool
	events     []icsEvent
}

var (
	contentLine = regexp.MustCompile(`^([A-Z0-9-]+)((?:;[A-Z0-9-]+=[^\x00-\x1f\x7f";:,]+)*):([^\x00-\x08\x0a-\x1f\x7f]*)$`)
	icsUnescape = strings.NewReplacer(`\\`, `\`, `\;`, `;`, `\,`, `,`, `\n`, "\n", `\N`, "\n")
	icsTextForm = regexp.MustCompile(`^(?:[^\\;,]|\\[\\;,nN])*$`)
)

func (c *icsReader) line(line string) error {
	parts := contentLine.FindStringSubmatch(line)
	if parts == nil || c.ended {
		return errors.New("is no content line")
	}
	p := icsProperty{parts[1], parts[2], parts[3]}
	switch p.name {
	case "BEGIN":
		return c.begin(p.value)
	case "END":
		return c.end(p.value)
	}
	if len(c.open) == 0 {
		return errors.New("stands outside of the calendar")
	}
	c.properties = append(c.properties, p)
	return nil
}

func (c *icsReader) begin(name string) error {
	if (len(c.open) == 0) != (name == "VCALENDAR") {
		return errors.New("does not belong here")
	}
	if len(c.open) == 1 {
		if c.components == 0 {
			if err := c.header(); err != nil {
				return err
			}
		}
		c.components++
	}
	if len(c.open) < 2 {
		c.properties = nil
	}
	c.open = append(c.open, name)
	return nil
}

func (c *icsReader) header() error {
	if c.count("VERSION") != 1 || c.count("PRODID") != 1 || c.one("VERSION").value != "2.0" {
		return errors.New("the calendar has no VERSION 2.0 or PRODID, or several")
	}
	return nil
}

func (c *icsReader) end(name string) error {
	if len(c.open) == 0 || c.open[len(c.open)-1] != name {
		return errors.New("ends what is not open")
	}
	c.open = c.open[:len(c.open)-1]
	c.ended = len(c.open) == 0
	if name == "VEVENT" {
		return c.event()
	}
	return nil
}

func (c *icsReader) count(name string) (n int) {
	for _, p := range c.properties {
		if p.name == name {
			n++
		}
	}
	return n
}

func (c *icsReader) one(name string) icsProperty {
	i := slices.IndexFunc(c.properties, func(p icsProperty) bool { return p.name == name })
	if i < 0 {
		return icsProperty{}
	}
	return c.properties[i]
}

// event checks section 3.6.1.
func (c *icsReader) event() (err error) {
	for _, name := range []string{"UID", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY", "DESCRIPTION", "TRANSP"} {
		if c.count(name) != 1 {
			return fmt.Errorf("an event has %d %s", c.count(name), name)
		}
	}
	if len(c.properties) != 7 {
		return errors.New("an event has a property that nobody expects")
	}
	e := icsEvent{uid: c.one("UID").value}
	if c.uids[e.uid] {
		return errors.New("a UID stands twice")
	}
	c.uids[e.uid] = true
	if _, err := time.Parse("20060102T150405Z", c.one("DTSTAMP").value); err != nil {
		return err
	}
	for name, into := range map[string]*time.Time{"DTSTART": &e.from, "DTEND": &e.to} {
		p := c.one(name)
		if *into, err = time.Parse("20060102", p.value); err != nil || p.params != ";VALUE=DATE" {
			return fmt.Errorf("%s is no date: %q%q", name, p.params, p.value)
		}
	}
	if !e.to.After(e.from) {
		return errors.New("DTEND is not after DTSTART")
	}
	for name, into := range map[string]*string{"SUMMARY": &e.summary, "DESCRIPTION": &e.description} {
		if text := c.one(name).value; icsTextForm.MatchString(text) {
			*into = icsUnescape.Replace(text)
			continue
		}
		return fmt.Errorf("%s is not escaped", name)
	}
	if c.one("TRANSP").value != "TRANSPARENT" {
		return errors.New("TRANSP is neither")
	}
	c.events = append(c.events, e)
	return nil
}

// hostileOr draws any text: those that do harm, and those of chance.
func hostileOr(tb testing.TB) *rapid.Generator[string] {
	tb.Helper()
	texts, err := enginetest.HostileTexts("..")
	if err != nil {
		tb.Fatal(err)
	}
	var hostile []string
	for _, t := range texts {
		hostile = append(hostile, t.Text[:min(len(t.Text), 5000)])
	}
	return rapid.OneOf(rapid.SampledFrom(hostile), rapid.String(), rapid.Just("ana@example.com"),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
}

// TestForecastICS: whatever tokens, owners and workspaces are called, a strict
// reader finds an event for each day, kind and workspace, which says what it should.
func TestForecastICS(t *testing.T) {
	text := hostileOr(t)
	begin := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	enginetest.Check(t, func(rt *rapid.T) {
		var list []engine.Forecast
		for range rapid.IntRange(0, 60).Draw(rt, "n") {
			list = append(list, engine.Forecast{
				Day:     begin.AddDate(0, 0, rapid.IntRange(1, 3).Draw(rt, "day")).Format(time.DateOnly),
				Kind:    rapid.SampledFrom([]engine.ForecastKind{engine.WillExpire, engine.WillIdleOut, engine.WillViolate}).Draw(rt, "kind"),
				TokenID: text.Draw(rt, "token"), Owner: text.Draw(rt, "owner"), Workspace: engine.Workspace{ID: rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "workspace id"), Name: text.Draw(rt, "workspace")},
				Policy: "PAT-004", Severity: engine.High, Message: text.Draw(rt, "message"),
			})
		}
		list = append(list, engine.Cliffs(list, 10)...)
		engine.SortForecast(list)
		var out bytes.Buffer
		if err := ForecastICS(&out, list, ForecastSpan{AsOf: begin, Database: "/a.db"}); err != nil {
			rt.Fatal(err)
		}
		events, err := readCalendar(out.Bytes())
		if err != nil {
			rt.Fatalf("%v in\n%s", err, out.Bytes())
		}
		checkEvents(rt, list, events)
	})
}

// checkEvents compares events with the forecast that they come from.
func checkEvents(t *rapid.T, list []engine.Forecast, events []icsEvent) {
	want := map[string][]string{}
	for _, f := range list {
		key := icsUID("/a.db", f)
		want[key] = append(want[key], engine.SafeText(forecastText(f)))
	}
	if len(events) != len(want) {
		t.Fatalf("%d events, want %d", len(events), len(want))
	}
	for _, e := range events {
		lines := want[e.uid]
		if lines == nil || !strings.HasPrefix(e.uid, e.from.Format(time.DateOnly)) || !e.to.Equal(e.from.AddDate(0, 0, 1)) || e.summary == "" {
			t.Fatalf("%+v is no day of the forecast", e)
		}
		if len(lines) > namedInEvent {
			lines = append(slices.Clone(lines[:namedInEvent]), fmt.Sprintf("and %d more", len(lines)-namedInEvent))
		}
		if e.description != strings.Join(lines, "\n") {
			t.Fatalf("%s says %q, want %q", e.uid, e.description, lines)
		}
	}
}

// TestCalendarUIDs: an event is one of its workspace and its database, and stays
// the same one.
func TestCalendarUIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, database := range []string{"/a.db", "/b.db"} {
		for _, workspace := range []string{"1", "2", "import:tokens"} {
			for range 2 {
				var out bytes.Buffer
				list := []engine.Forecast{{Day: "2026-12-01", Kind: engine.WillExpire, Workspace: engine.Workspace{ID: workspace}}, {Day: "2026-12-01", Kind: engine.Cliff}}
				if err := ForecastICS(&out, list, ForecastSpan{Database: database}); err != nil {
					t.Fatal(err)
				}
				events, err := readCalendar(out.Bytes())
				if err != nil || len(events) != 2 {
					t.Fatal(events, err)
				}
				whose := database + " " + workspace
				if before, known := seen[events[0].uid]; known && before != whose {
					t.Errorf("%s and %s share %s", before, whose, events[0].uid)
				}
				seen[events[0].uid] = whose
			}
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d UIDs, want 6", len(seen))
	}
}

// TestReadCalendar: the reader is as strict as it says.
func TestReadCalendar(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	list := []engine.Forecast{{Day: "2026-12-01", Kind: engine.WillExpire, TokenID: "a1", Owner: "ana@example.com", Message: strings.Repeat("é", 60)}}
	if err := ForecastICS(&out, list, ForecastSpan{}); err != nil {
		t.Fatal(err)
	}
	good := out.String()
	if _, err := readCalendar([]byte(good)); err != nil {
		t.Fatal(err)
	}
	fold := strings.Index(good, "\r\n ")
	for name, bad := range map[string]string{
		"no CRLF":              strings.ReplaceAll(good, "\r\n", "\n"),
		"one bare LF":          strings.Replace(good, "VERSION", "X:1\nVERSION", 1),
		"cut off":              good[:len(good)-len("END:VCALENDAR\r\n")],
		"long line":            good[:fold] + good[fold+3:],
		"split character":      strings.Replace(good, "é\r\n ", "\xc3\r\n \xa9", 1),
		"comma not escaped":    strings.Replace(good, `\,`, ",", 1),
		"backslash before x":   strings.Replace(good, `\,`, `\x`, 1),
		"control character":    strings.Replace(good, "ana", "a\x07a", 1),
		"no UID":               strings.Replace(good, "UID:", "X-UID:", 1),
		"UID twice":            strings.Replace(good, "END:VCALENDAR", good[strings.Index(good, "BEGIN:VEVENT"):], 1),
		"date with time":       strings.Replace(good, "VALUE=DATE:20261201", "VALUE=DATE:20261201T000000", 1),
		"no date":              strings.Replace(good, "VALUE=DATE:20261201", "VALUE=DATE:20261301", 1),
		"end before start":     strings.Replace(good, "DTEND;VALUE=DATE:20261202", "DTEND;VALUE=DATE:20261201", 1),
		"no value type":        strings.Replace(good, "DTSTART;VALUE=DATE", "DTSTART", 1),
		"stamp with a zone":    strings.Replace(good, "Z\r\nDTSTART", "+0100\r\nDTSTART", 1),
		"no version":           strings.Replace(good, "VERSION:2.0\r\n", "", 1),
		"no component":         "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nEND:VCALENDAR\r\n",
		"something after it":   good + "X:1\r\n",
		"event not ended":      strings.Replace(good, "END:VEVENT\r\n", "", 1),
		"property nobody asks": strings.Replace(good, "TRANSP", "X-EVIL:1\r\nTRANSP", 1),
	} {
		if bad == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := readCalendar([]byte(bad)); err == nil {
			t.Errorf("%s passes:\n%s", name, bad)
		}
	}
}
