package reports

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"patrol/engine"
	"patrol/engine/outfile"
)

// TestFormatsShareOneReading: all formats together write what each writes alone,
// and read the report once.
func TestFormatsShareOneReading(t *testing.T) {
	t.Parallel()
	alone, together := t.TempDir(), t.TempDir()
	for _, format := range Formats() {
		if _, err := WriteAll(t.Context(), alone, []Format{format}, report(), outfile.Files{}); err != nil {
			t.Fatal(err)
		}
	}
	r := report()
	var findings, tokens atomic.Int32
	r.Findings, r.Tokens = beginnings(r.Findings, &findings), beginnings(r.Tokens, &tokens)
	paths, err := WriteAll(t.Context(), together, []Format{must(Lookup("csv")), must(Lookup("xlsx")), must(Lookup("json")), must(Lookup("html"))}, r, outfile.Files{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	if want := []string{"findings.csv", "audit.xlsx", "audit.json", "audit.html"}; !slices.Equal(names, want) {
		t.Errorf("wrote %q, want %q", names, want)
	}
	if findings.Load() != 1 || tokens.Load() != 1 {
		t.Errorf("findings were read %d times and tokens %d times, want once each", findings.Load(), tokens.Load())
	}
	if _, err := WriteAll(t.Context(), together, Formats(), report(), outfile.Files{}); err != nil {
		t.Fatal(err)
	}
	for _, format := range Formats() {
		want, err := os.ReadFile(filepath.Join(alone, format.File))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(together, format.File))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, got) {
			t.Errorf("%s: written together it is not what it is alone", format.File)
		}
	}
}

// TestTogetherStops: rows that break, a format that fails and an interruption end
// all formats and leave no file, and say what failed.
func TestTogetherStops(t *testing.T) {
	t.Parallel()
	torn, full := errors.New("page is torn"), errors.New("no room")
	ended, end := context.WithCancel(t.Context())
	end()
	brokenFindings, brokenTokens := report(), report()
	brokenFindings.Findings = breaking(brokenFindings.Findings, 5, torn)
	brokenTokens.Tokens = breaking(brokenTokens.Tokens, 5, torn)
	failing := Format{Name: "failing", File: "failing", Write: func(_ context.Context, _ io.Writer, r engine.Report) error {
		for range r.Findings {
			return full
		}
		return nil
	}}
	formats := []Format{must(Lookup("csv")), must(Lookup("xlsx")), must(Lookup("html"))}
	for name, c := range map[string]struct {
		ctx     context.Context
		report  engine.Report
		formats []Format
		wanted  error
		files   int // that were whole before
	}{
		"findings that break": {t.Context(), brokenFindings, formats, torn, 0},
		"tokens that break":   {t.Context(), brokenTokens, formats, torn, 1}, // of the CSV, which has no tokens, at most
		"a format that fails": {t.Context(), report(), append(formats, failing), full, 1},
		"interrupted":         {ended, report(), formats, context.Canceled, 0},
	} {
		dir := t.TempDir()
		paths, err := WriteAll(c.ctx, dir, c.formats, c.report, outfile.Files{})
		if !errors.Is(err, c.wanted) {
			t.Errorf("%s: got %v, want %v", name, err, c.wanted)
		}
		left, _ := os.ReadDir(dir)
		if len(left) > c.files || len(left) != len(paths) {
			t.Errorf("%s: left %v, told of %q", name, left, paths)
		}
	}
}

// TestTogetherReadsOneAtATime: a format that asks for tokens while it reads
// findings, or the other way round, fails; it does not wait for ever.
func TestTogetherReadsOneAtATime(t *testing.T) {
	t.Parallel()
	first := func(rows iter.Seq2[engine.TokenRow, error]) error {
		for _, err := range rows {
			return err
		}
		return nil
	}
	nested := Format{Name: "nested", File: "nested", Write: func(_ context.Context, _ io.Writer, r engine.Report) error {
		for _, err := range r.Findings {
			return errors.Join(err, first(r.Tokens))
		}
		return nil
	}}
	reversed := Format{Name: "reversed", File: "reversed", Write: func(_ context.Context, _ io.Writer, r engine.Report) error {
		for range r.Tokens {
			for _, err := range r.Findings {
				return err
			}
		}
		return nil
	}}
	turns := Format{Name: "turns", File: "turns", Write: func(_ context.Context, _ io.Writer, r engine.Report) error {
		for range 2 {
			for _, err := range r.Findings {
				if err != nil {
					return err
				}
				break
			}
			if err := first(r.Tokens); err != nil {
				return err
			}
		}
		return nil
	}}
	for _, c := range []struct {
		format Format
		wanted error
	}{{nested, errWithin}, {reversed, errWithin}, {turns, nil}} {
		_, err := WriteAll(t.Context(), t.TempDir(), []Format{c.format, must(Lookup("csv"))}, report(), outfile.Files{})
		if !errors.Is(err, c.wanted) {
			t.Errorf("%s: got %v, want %v", c.format.Name, err, c.wanted)
		}
	}
}

func beginnings[T any](rows iter.Seq2[T, error], count *atomic.Int32) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		count.Add(1)
		rows(yield)
	}
}

func must(format Format, err error) Format {
	if err != nil {
		panic(err)
	}
	return format
}
