package reports

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"patrol/engine"
)

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
