// Package reports turns an engine.Report into files: one file of this package
// per format, each a pure function of the report, so that the same report
// always gives the same bytes.
//
// A format ranges over the report's iterators and writes as it reads: the
// population is never in memory. When an iterator fails, so does the format.
// WriteAll then leaves no file behind; a caller that lets a format write to a
// stream itself has to expect a beginning without an end.
//
// Comments and names in a report are anybody's text. Each medium makes them
// harmless at the one place where it is written: the packages table and workbook,
// foreign and foreignLines for the page.
//
// A format is a method of catalogue in a file of its own; nothing else has to
// know it.
package reports

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"patrol/engine"
	"patrol/engine/outfile"
)

// Format is a kind of report file.
type Format struct {
	Name string // as --format spells it
	File string // the file's name in the output directory
	Doc  string // one line for help and documentation

	// Write writes the whole report to w. It stops with ctx's error when ctx
	// ends and with the iterator's when the report cannot be read.
	Write func(ctx context.Context, w io.Writer, r engine.Report) error

	// Parts, where set, writes the report to as many files as its readers need.
	// Write then writes what the first one holds and says what it leaves out.
	Parts Parts
}

// catalogue is the set of formats: each file adds a method.
type catalogue struct{}

// Formats returns all formats, sorted by name.
func Formats() []Format { return engine.Plugins[Format](catalogue{}) }

// Lookup finds a format by name, in any letter case.
func Lookup(name string) (Format, error) {
	wanted := strings.ToLower(strings.TrimSpace(name))
	var names []string
	for _, format := range Formats() {
		if format.Name == wanted {
			return format, nil
		}
		names = append(names, format.Name)
	}
	known := strings.Join(names, ", ")
	return Format{}, engine.UsageError("choose report format", fmt.Sprintf("%q", name),
		"Name one or more of "+known+", separated by commas.", fmt.Errorf("want one of %s", known))
}

// WriteAll writes each format to its file in dir, which it creates for its
// owner only when missing. Each file appears whole or not at all. It returns the
// paths written, also when another format fails.
func WriteAll(ctx context.Context, dir string, formats []Format, r engine.Report, files outfile.Files) ([]string, error) {
	if err := outfile.MakeDir(dir); err != nil {
		return nil, err
	}
	if len(formats) == 1 {
		return writeFiles(ctx, dir, formats[0], r, files)
	}
	return writeTogether(ctx, dir, formats, r, files)
}

func writeFiles(ctx context.Context, dir string, format Format, r engine.Report, files outfile.Files) ([]string, error) {
	if format.Parts != nil {
		return writeParts(ctx, dir, format, r, files)
	}
	path := filepath.Join(dir, format.File)
	if err := writeFile(ctx, files, path, func(w io.Writer) error { return format.Write(ctx, w, r) }); err != nil {
		return nil, err
	}
	return []string{path}, nil
}

func writeFile(ctx context.Context, files outfile.Files, path string, write Part) error {
	err := files.Write(path, write)
	if ended := ctx.Err(); err != nil && ended != nil {
		return ended // an interruption is no fault of the disk
	}
	return err
}

// Part writes one file of a report that takes several.
type Part func(w io.Writer) error

// Parts splits a report into files, where a reader of the format takes only so
// much in one. Each part has to be written before the next is asked for. The
// first says what the others hold.
type Parts func(ctx context.Context, r engine.Report) iter.Seq[Part]

// partFile names the n-th file of a format, counted from 1: audit.sarif,
// audit-2.sarif, audit-3.sarif…
func partFile(file string, n int) string {
	if n == 1 {
		return file
	}
	ending := filepath.Ext(file)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(file, ending), n, ending)
}

// writeParts writes all files of a format and removes those that an earlier,
// larger report left beside them: they would be taken for a part of this one.
func writeParts(ctx context.Context, dir string, format Format, r engine.Report, files outfile.Files) ([]string, error) {
	var paths []string
	for part := range format.Parts(ctx, r) {
		path := filepath.Join(dir, partFile(format.File, len(paths)+1))
		if err := writeFile(ctx, files, path, part); err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, removeParts(dir, format.File, len(paths))
}

func removeParts(dir, file string, written int) error {
	ending := filepath.Ext(file)
	stem := strings.TrimSuffix(file, ending) + "-"
	found, err := filepath.Glob(filepath.Join(dir, stem+"*"+ending))
	if err != nil {
		return nil // the directory's name is no pattern: then nothing can be found by one
	}
	for _, path := range found {
		number := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), stem), ending)
		if n, err := strconv.Atoi(number); err != nil || n <= written || partFile(file, n) != filepath.Base(path) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return &engine.Error{Class: engine.ClassStorage, Reason: "output", Op: "remove", Target: path, Hint: "Remove it yourself: it is a part of an older report.", Err: err}
		}
	}
	return nil
}
