package reports

import (
	"strings"
	"time"
)

// column is one column of a table, whatever medium the table ends up in.
type column[T any] struct {
	name  string  // snake_case: the header in CSV and the key in JSON
	kind  kind    // how a workbook shows it
	width float64 // of the workbook's column, in characters
	value func(T) any
}

// The value of a column is a string (or another type that prints as foreign
// text), []string, int, int64, bool, nil where nothing applies (days to the end
// of an endless token), or one of these.
type (
	unknown struct{} // applies, but could not be read
	never   struct{} // an instant that does not come, or never came
	instant int64    // ms since 1970
	lines   []string // shown one below the other
)

func mapSlice(values []string, do func(string) string) []string {
	mapped := make([]string, len(values))
	for i, value := range values {
		mapped[i] = do(value)
	}
	return mapped
}

// kind is how a column looks in a workbook.
type kind int

const (
	plain kind = iota
	wrapped
	identifier // text even when it is all digits
	number
	date
	leftNumber // of the summary, whose values stand right beside their labels
)

// heading is the header of a column for people.
func (c column[T]) heading() string { return heading(c.name) }

func heading(name string) string {
	words := strings.ReplaceAll(name, "_", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

func columnNames[T any](columns []column[T]) []any {
	cells := make([]any, len(columns))
	for i, c := range columns {
		cells[i] = c.name
	}
	return cells
}

// text is how an instant looks where it is text.
func (t instant) text() string { return timeText(time.UnixMilli(int64(t))) }

// timeText shows milliseconds only where there are any.
func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z07:00") }

// orUnknown tells a value that could not be read from one that was.
func orUnknown[T any](value *T) any {
	if value == nil {
		return unknown{}
	}
	return *value
}

// optional tells a value that does not apply from one that does.
func optional[T any](value *T) any {
	if value == nil {
		return nil
	}
	return *value
}
