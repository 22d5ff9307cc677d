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
	begin := span.AsOf.UTC().Truncate(24 * time.Hour)
	weeks := map[int][]engine.Forecast{} // by number from the beginning
	for _, f := range list {
		on, err := time.Parse(time.DateOnly, f.Day)
		if err != nil {
			return fmt.Errorf("forecast of day %q: %w", f.Day, err)
		}
		n := int(on.Sub(begin) / (7 * 24 * time.Hour))
		weeks[n] = append(weeks[n], f)
	}
	for _, n := range engine.SortedKeys(weeks) {
		first := begin.AddDate(0, 0, 7*n)
		s.Styled(table.Bold, first.Format(time.DateOnly)+" to "+first.AddDate(0, 0, 6).Format(time.DateOnly))
		for _, kind := range []engine.ForecastKind{engine.Cliff, engine.WillViolate, engine.WillExpire, engine.WillIdleOut} {
			of := ofKind(weeks[n], kind)
			for _, f := range of[:min(len(of), perKind)] {
				s.Line("  " + f.Day + "  " + forecastText(f))
			}
			s.More("  ", len(of)-perKind, "")
		}
	}
	if len(list) > 0 {
		s.Blank()
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

// namedInEvent is how many tokens an event names; the rest is counted.
const namedInEvent = 20

// ForecastICS writes a forecast as a calendar (RFC 5545): for each day, kind and
// workspace one event of a whole day. The same forecast gives the same bytes. An
// event keeps its UID from one forecast of a database to the next, so that
// importing again updates it, and shares it with no other workspace or database.
func ForecastICS(w io.Writer, list []engine.Forecast, span ForecastSpan) error {
	out := bufio.NewWriter(w)
	icsLines(out, "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//patrol//forecast//EN", "CALSCALE:GREGORIAN")
	if len(list) == 0 {
		// A calendar must hold one component at least (section 3.6): the definition of
		// UTC is one that no reader shows.
		icsLines(out, "BEGIN:VTIMEZONE", "TZID:UTC", "BEGIN:STANDARD", "DTSTART:19700101T000000", "TZOFFSETFROM:+0000", "TZOFFSETTO:+0000",
			"END:STANDARD", "END:VTIMEZONE")
	}
	var uids []string
	events := map[string][]engine.Forecast{}
	for _, f := range list {
		uid := icsUID(span.Database, f)
		if events[uid] == nil {
			uids = append(uids, uid)
		}
		events[uid] = append(events[uid], f)
	}
	for _, uid := range uids {
		event := events[uid]
		on, err := time.Parse(time.DateOnly, event[0].Day)
		if err != nil {
			return fmt.Errorf("forecast of day %q: %w", event[0].Day, err)
		}
		var texts []string
		for _, f := range event[:min(len(event), namedInEvent)] {
			texts = append(texts, engine.SafeText(forecastText(f)))
		}
		if more := len(event) - namedInEvent; more > 0 {
			texts = append(texts, fmt.Sprintf("and %s more", engine.Comma(more)))
		}
		icsLines(out, "BEGIN:VEVENT",
			"UID:"+uid,
			"DTSTAMP:"+span.AsOf.UTC().Format("20060102T150405Z"),
			"DTSTART;VALUE=DATE:"+on.Format("20060102"),
			"DTEND;VALUE=DATE:"+on.AddDate(0, 0, 1).Format("20060102"),
			"SUMMARY:"+icsText(eventTitle(event)),
			"DESCRIPTION:"+icsText(strings.Join(texts, "\n")),
			"TRANSP:TRANSPARENT",
			"END:VEVENT")
	}
	icsLines(out, "END:VCALENDAR")
	return out.Flush()
}

// icsUID names an event by its day, kind and workspace. A cliff is of all workspaces
// of its database.
func icsUID(database string, f engine.Forecast) string {
	sum := sha256.Sum256([]byte(database + "\x00" + f.Workspace.ID))
	return fmt.Sprintf("%s-%s-%x@patrol", f.Day, f.Kind, sum[:8])
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

// icsText escapes a text as section 3.3.11 wants it.
func icsText(text string) string {
	return strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\n", `\n`).Replace(text)
}

const icsLine = 75 // octets, without the line break

// icsLines writes content lines, folded between characters.
func icsLines(out *bufio.Writer, lines ...string) {
	for _, line := range lines {
		room := icsLine
		for len(line) > room {
			cut := room
			for !utf8.RuneStart(line[cut]) {
				cut--
			}
			_, _ = out.WriteString(line[:cut] + "\r\n ")
			line, room = line[cut:], icsLine-1
		}
		_, _ = out.WriteString(line + "\r\n") // Flush tells
	}
}
