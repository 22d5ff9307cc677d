package reports

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/workbook"
)

// digestHeader is the heading of a workbook's column of snapshots' digests.
const digestHeader = "Digest of the snapshot"

// digestText finds a digest as each format of text writes it. Foreign text cannot
// look like that: its quotes and brackets are escaped, and the keys of evidence
// are sorted, which these are not.
var digestText = regexp.MustCompile(`(?:"snapshot":"[0-9]+","digest":"|"workspace_id":"[^"\\]*","snapshot_digest":"|name="digest" value="|<dt>Digest</dt><dd class="id">|collected at [0-9TZ:.-]{20,30}, snapshot digest )([0-9a-f]{64})["<]`)

// SnapshotDigests reads from a report that patrol wrote which snapshots it is
// of: the SHA-256 of each in hexadecimal, each once, in the order of the report.
// A report that has none, such as findings.csv, is an error of class usage, as is
// a file that cannot be read. It holds little of a file in memory.
func SnapshotDigests(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, &engine.Error{Class: engine.ClassUsage, Reason: "not_found", Op: "read report", Target: path, Hint: "Name a report that patrol wrote.", Err: err}
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, engine.UsageError("read report", path, "Name a report that patrol wrote.", errors.Join(errors.New("is not a regular file"), err))
	}
	start := make([]byte, 4)
	n, _ := io.ReadFull(file, start) // a shorter file is no workbook
	var found []string
	switch {
	case string(start[:n]) == "PK\x03\x04":
		found, err = digestsOfBook(path)
	case n > 0 && strings.IndexByte("{[<", start[0]) >= 0: // JSON, XML and HTML: a list of lines has no escapes that tell foreign text
		found, err = digestsOfText(io.MultiReader(bytes.NewReader(start[:n]), file))
	}
	switch {
	case err != nil:
		return nil, engine.UsageError("read report", path, "Name the audit.json of that run.", err)
	case len(found) == 0:
		return nil, engine.UsageError("read report", path, "Name the audit.json, audit.xlsx or audit.html of that run, or give digests with --digest. Lists, such as findings.csv, hold none: name them with the digest file of their run.",
			errors.New("names no digest of a snapshot"))
	}
	return found, nil
}

// digestsOfText reads a piece at a time. A piece begins with the end of the one
// before, where a digest may have been cut.
func digestsOfText(r io.Reader) (found []string, err error) {
	const pieceSize, overlap = 1 << 20, 256
	piece := make([]byte, 0, pieceSize+overlap)
	known := map[string]bool{}
	for {
		n, err := io.ReadFull(r, piece[len(piece):cap(piece)])
		piece = piece[:len(piece)+n]
		for _, match := range digestText.FindAllSubmatch(piece, -1) {
			if digest := string(match[1]); !known[digest] {
				known[digest] = true
				found = append(found, digest)
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		piece = append(piece[:0], piece[len(piece)-overlap:]...)
	}
}

// digestsOfBook reads the cover of an audit's workbook.
func digestsOfBook(path string) (found []string, err error) {
	rows, err := workbook.Rows(path, coverSheet)
	if err != nil {
		return nil, err
	}
	digest := regexp.MustCompile(`^[0-9a-f]{64}$`)
	column := -1
	for _, row := range rows {
		if at := slices.Index(row, digestHeader); at >= 0 {
			column = at
			continue
		}
		if column < 0 {
			continue
		}
		if len(row) <= column {
			break // the list ends
		}
		if digest.MatchString(row[column]) && !slices.Contains(found, row[column]) {
			found = append(found, row[column])
		}
	}
	return found, nil
}
