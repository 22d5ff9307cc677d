package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	pq "github.com/parquet-go/parquet-go"
	"github.com/rogpeppe/go-internal/testscript"
)

// parquet DIR COLUMN… prints these columns of each row of each file below a directory.
func cmdParquet(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: parquet DIR COLUMN…")
	}
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return printParquet(ts, []byte(ts.ReadFile(path)), args[1:])
	}))
}

func printParquet(ts *testscript.TestScript, text []byte, columns []string) error {
	file, err := pq.OpenFile(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return err
	}
	rows := make([]map[string]any, file.NumRows())
	for i := range rows {
		rows[i] = map[string]any{}
	}
	if n, err := pq.NewGenericReader[map[string]any](file, file.Schema()).Read(rows); n != len(rows) {
		return fmt.Errorf("read %d of %d rows: %w", n, len(rows), err)
	}
	for _, row := range rows {
		var cells []string
		for _, column := range columns {
			cells = append(cells, fmt.Sprint(row[column]))
		}
		fmt.Fprintln(ts.Stdout(), strings.Join(cells, " "))
	}
	return nil
}
