package reports

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
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
// owner only when missing. Each file appears whole or not at all. It returns the paths written, also when a later format
// fails.
func WriteAll(ctx context.Context, dir string, formats []Format, r engine.Report, files outfile.Files) ([]string, error) {
	if err := outfile.MakeDir(dir); err != nil {
		return nil, err
	}
	var paths []string
	for _, format := range formats {
		written, err := writeFiles(ctx, dir, format, r, files)
		paths = append(paths, written...)
		if err != nil {
			return paths, err
		}
	}
	return paths, nil
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
