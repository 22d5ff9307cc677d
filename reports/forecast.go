package reports

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"patrol/engine"
	"patrol/reports/table"
)

// ForecastSpan is what a forecast is about.
type ForecastSpan struct {
	AsOf     time.Time
	Days     int
	Tokens   int
	Database string // where the tokens are from
}

func forecastColumns() []table.Column[engine.Forecast] {
	type row = engine.Forecast
	return []table.Column[row]{
		table.Plain("day", 12, func(f row) any { return f.Day }),
		table.Plain("what", 12, func(f row) any { return string(f.Kind) }),
		table.Plain("workspace", 18, func(f row) any { return f.Workspace.Name }),
		table.ID("workspace_id", 20, func(f row) any { return f.Workspace.ID }),
		table.ID("token_id", 24, func(f row) any { return f.TokenID }),
		table.Plain("owner", 28, func(f row) any { return f.Owner }),
		table.ID("owner_id", 20, func(f row) any { return f.OwnerID }),
		table.Plain("policy", 10, func(f row) any { return f.Policy }),
		table.Plain("severity", 10, func(f row) any { return string(f.Severity) }),
		table.Plain("message", 40, func(f row) any { return f.Message }),
	}
}

// perKind is how many things of a kind a week shows.
const perKind = 5

// Forecast writes a forecast as CSV, JSON or ICS, or for a reader at a terminal: a
// week at a time, the first of each kind.
func Forecast(ctx context.Context, w io.Writer, format string, list []engine.Forecast, span ForecastSpan, o table.Options) error {
	switch format {
	case "ics":
		return ForecastICS(w, list, span)
	case "csv", "json":
		return table.Write(ctx, w, format, forecastColumns(), table.Known(list), o)
	}
	s := newScreen(w, o)
	for _, week := range weeks(list, span.AsOf) {
		s.Styled(table.Bold, week.title)
		for _, kind := range []engine.ForecastKind{engine.Cliff, engine.WillViolate, engine.WillExpire, engine.WillIdleOut} {
			of := ofKind(week.list, kind)
			for i, f := range of {
				if i == perKind {
					s.Line(fmt.Sprintf("  … and %s more", engine.Comma(len(of)-i)))
					break
				}
				s.Line("  " + f.Day + "  " + forecastText(f))
			}
		}
	}
	if len(list) > 0 {
		s.Line("")
	}
	s.Hang("", "", fmt.Sprintf("In the %s after %s, of %s: %s end, %s revoked for inactivity, %s begin to break policy.", engine.Plural(span.Days, "day"),
		span.AsOf.UTC().Format(time.DateOnly), engine.Plural(span.Tokens, "token"),
		engine.Comma(len(ofKind(list, engine.WillExpire))), engine.Comma(len(ofKind(list, engine.WillIdleOut))), engine.Comma(tokensOf(ofKind(list, engine.WillViolate)))))
	return s.Flush()
}

// tokensOf counts tokens, of which one may break several policies.
func tokensOf(list []engine.Forecast) int {
	seen := map[[2]string]bool{}
	for _, f := range list {
		seen[[2]string{f.Workspace.ID, f.TokenID}] = true
	}
	return len(seen)
}

func ofKind(list []engine.Forecast, kind engine.ForecastKind) []engine.Forecast {
	return slices.DeleteFunc(slices.Clone(list), func(f engine.Forecast) bool { return f.Kind != kind })
}

func forecastText(f engine.Forecast) string {
	switch f.Kind {
	case engine.Cliff:
		return "CLIFF: " + f.Message
	case engine.WillViolate:
		return fmt.Sprintf("%s %s  %s %s  %s: %s", f.Severity, f.Policy, f.Workspace.Name, shortID(f.TokenID), f.Owner, f.Message)
	}
	return fmt.Sprintf("%s  %s %s  %s, %s", f.Kind, f.Workspace.Name, shortID(f.TokenID), f.Owner, f.Message)
}

type week struct {
	title string
	list  []engine.Forecast
}

// weeks cuts a sorted list into weeks from the beginning of the forecast.
func weeks(list []engine.Forecast, from time.Time) (all []week) {
	begin := from.UTC().Truncate(24 * time.Hour)
	for _, f := range list {
		on, err := time.Parse(time.DateOnly, f.Day)
		if err != nil {
			continue // made by time.Format
		}
		n := int(on.Sub(begin) / (7 * 24 * time.Hour))
		first := begin.AddDate(0, 0, 7*n)
		title := first.Format(time.DateOnly) + " to " + first.AddDate(0, 0, 6).Format(time.DateOnly)
		if len(all) == 0 || all[len(all)-1].title != title {
			all = append(all, week{title: title})
		}
		all[len(all)-1].list = append(all[len(all)-1].list, f)
	}
	return all
}

// namedInEvent is how many tokens an event names; the rest is counted.
const namedInEvent = 20

// ForecastICS writes a forecast as a calendar (RFC 5545): for each day, kind and
// workspace one event of a whole day. The same forecast gives the same bytes. An
// event keeps its UID from one forecast of a database to the next, so that
// importing again updates it, and shares it with no other workspace or database.
func ForecastICS(w io.Writer, list []engine.Forecast, span ForecastSpan) error {
	c := &calendar{out: bufio.NewWriter(w), stamp: span.AsOf.UTC().Format("20060102T150405Z"), database: span.Database}
	c.lines("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//patrol//forecast//EN", "CALSCALE:GREGORIAN")
	if len(list) == 0 {
		c.nothing()
	}
	type event struct {
		day       string
		kind      engine.ForecastKind
		workspace string
	}
	var events []event
	of := map[event][]engine.Forecast{}
	for _, f := range list {
		e := event{f.Day, f.Kind, f.Workspace.ID}
		if of[e] == nil {
			events = append(events, e)
		}
		of[e] = append(of[e], f)
	}
	for _, e := range events {
		if err := c.event(of[e]); err != nil {
			return err
		}
	}
	c.lines("END:VCALENDAR")
	return c.out.Flush()
}

// nothing writes what a calendar without events must hold instead (section 3.6:
// one component at least), and what no reader shows: the definition of UTC.
func (c *calendar) nothing() {
	c.lines("BEGIN:VTIMEZONE", "TZID:UTC", "BEGIN:STANDARD", "DTSTART:19700101T000000", "TZOFFSETFROM:+0000", "TZOFFSETTO:+0000",
		"END:STANDARD", "END:VTIMEZONE")
}

type calendar struct {
	out      *bufio.Writer
	stamp    string
	database string
}

// uid names an event by its day, kind and workspace. A cliff is of all workspaces
// of its database.
func (c *calendar) uid(f engine.Forecast) string {
	sum := sha256.Sum256([]byte(c.database + "\x00" + f.Workspace.ID))
	return fmt.Sprintf("%s-%s-%x@patrol", f.Day, f.Kind, sum[:8])
}

func (c *calendar) event(list []engine.Forecast) error {
	on, err := time.Parse(time.DateOnly, list[0].Day)
	if err != nil {
		return fmt.Errorf("forecast of day %q: %w", list[0].Day, err)
	}
	c.lines("BEGIN:VEVENT",
		"UID:"+c.uid(list[0]),
		"DTSTAMP:"+c.stamp,
		"DTSTART;VALUE=DATE:"+on.Format("20060102"),
		"DTEND;VALUE=DATE:"+on.AddDate(0, 0, 1).Format("20060102"),
		"SUMMARY:"+icsText(eventTitle(list)),
		"DESCRIPTION:"+icsText(eventText(list)),
		"TRANSP:TRANSPARENT",
		"END:VEVENT")
	return nil
}

func eventTitle(list []engine.Forecast) string {
	where := "Databricks " + engine.SafeText(list[0].Workspace.Name) + ": "
	switch list[0].Kind {
	case engine.Cliff:
		return "Databricks: " + list[0].Message
	case engine.WillExpire:
		return where + engine.Plural(len(list), "token") + " will end"
	case engine.WillIdleOut:
		return where + engine.Plural(len(list), "token") + " may be revoked for inactivity"
	}
	return where + engine.Plural(tokensOf(list), "token") + " will begin to break policy"
}

func eventText(list []engine.Forecast) string {
	var b strings.Builder
	for i, f := range list {
		if i == namedInEvent {
			fmt.Fprintf(&b, "and %s more", engine.Comma(len(list)-i))
			break
		}
		b.WriteString(engine.SafeText(forecastText(f)) + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// icsText escapes a text as section 3.3.11 wants it.
func icsText(text string) string {
	return strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\n", `\n`).Replace(text)
}

const icsLine = 75 // octets, without the line break

// lines writes content lines, folded between characters.
func (c *calendar) lines(lines ...string) {
	for _, line := range lines {
		room := icsLine
		for len(line) > room {
			cut := room
			for !utf8.RuneStart(line[cut]) {
				cut--
			}
			_, _ = c.out.WriteString(line[:cut] + "\r\n ")
			line, room = line[cut:], icsLine-1
		}
		_, _ = c.out.WriteString(line + "\r\n") // Flush tells
	}
}
