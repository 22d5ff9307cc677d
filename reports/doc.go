// Package reports turns an engine.Report into files: one file of this package
// per format, each a pure function of the report, so that the same report
// always gives the same bytes.
//
// A format ranges over the report's iterators and writes as it reads: the
// population is never in memory. When an iterator fails, so does the format.
// WriteAll then leaves no file behind; a caller that lets a format write to a
// stream itself has to expect a beginning without an end.
//
// Comments and names in a report are anybody's text. Three encoders make them
// harmless, each at the one place where its medium is written: CSVWriter for
// every CSV, cellText for workbooks, jsonText for JSON. The terminal gets
// engine.SafeText.
//
// A format is a method of catalogue in a file of its own; nothing else has to
// know it.
package reports
