package reports

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"patrol/engine"
)

// ForecastSpan is what a forecast is about.
type ForecastSpan struct {
	AsOf     time.Time
	Days     int
	Tokens   int
	Database string // where the tokens are from
}

func forecastColumns() []column[engine.Forecast] {
	type row = engine.Forecast
	return []column[row]{
		{"day", plain, 12, func(f row) any { return f.Day }},
		{"what", plain, 12, func(f row) any { return string(f.Kind) }},
		{"workspace", plain, 18, func(f row) any { return f.Workspace.Name }},
		{"workspace_id", identifier, 20, func(f row) any { return f.Workspace.ID }},
		{"token_id", identifier, 24, func(f row) any { return f.TokenID }},
		{"owner", plain, 28, func(f row) any { return f.Owner }},
		{"owner_id", identifier, 20, func(f row) any { return f.OwnerID }},
		{"policy", plain, 10, func(f row) any { return f.Policy }},
		{"severity", plain, 10, func(f row) any { return string(f.Severity) }},
		{"message", plain, 40, func(f row) any { return f.Message }},
	}
}

func eachForecast(list []engine.Forecast) func(func(engine.Forecast, error) bool) {
	return func(yield func(engine.Forecast, error) bool) {
		for _, f := range list {
			if !yield(f, nil) {
				return
			}
		}
	}
}

// ForecastCSV writes a forecast as CSV, a line for each thing to come.
func ForecastCSV(w io.Writer, list []engine.Forecast, _ ForecastSpan) error {
	return writeRows(context.Background(), w, forecastColumns(), eachForecast(list))
}

// ForecastJSON writes a forecast as a list of objects with the names that
// ForecastCSV has as columns.
func ForecastJSON(w io.Writer, list []engine.Forecast, _ ForecastSpan) error {
	return writeObjects(context.Background(), w, forecastColumns(), eachForecast(list))
}

// ForecastTable writes a forecast for a reader at a terminal: a week at a time,
// the first of each kind.
func ForecastTable(w io.Writer, list []engine.Forecast, span ForecastSpan, o TableOptions) error {
	s := newScreen(w, o)
	for _, week := range weeks(list, span.AsOf) {
		s.styled(bold, week.title)
		for _, kind := range []engine.ForecastKind{engine.Cliff, engine.WillViolate, engine.WillExpire, engine.WillIdleOut} {
			of := ofKind(week.list, kind)
			for i, f := range of {
				if i == o.findings() {
					s.line(fmt.Sprintf("  … and %s more", comma(len(of)-i)))
					break
				}
				s.line("  " + f.Day + "  " + forecastText(f))
			}
		}
	}
	if len(list) > 0 {
		s.line("")
	}
	s.hang("", "", fmt.Sprintf("In the %s after %s, of %s: %s end, %s revoked for inactivity, %s begin to break policy.", plural(span.Days, "day"),
		span.AsOf.UTC().Format(time.DateOnly), plural(span.Tokens, "token"),
		comma(len(ofKind(list, engine.WillExpire))), comma(len(ofKind(list, engine.WillIdleOut))), comma(tokensOf(ofKind(list, engine.WillViolate)))))
	return s.flush()
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
