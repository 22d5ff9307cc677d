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
