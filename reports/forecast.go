package reports

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

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
