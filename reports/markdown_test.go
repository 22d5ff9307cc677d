package reports

import (
	"bytes"
	"strings"
	"testing"

	"patrol/engine"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// structure walks a document as GitHub reads it. It refuses links and HTML that
// are not ours, and counts the cells of each row.
func structure(t *testing.T, source []byte) (rows []int) {
	t.Helper()
	document := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	err := ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link, *ast.AutoLink, *ast.Image, *ast.Emphasis, *extast.Strikethrough:
			if n.Kind() != ast.KindEmphasis || n.(*ast.Emphasis).Level != 2 {
				t.Errorf("a %s", n.Kind())
			}
		case *ast.RawHTML:
			if tag := string(n.Segments.Value(source)); tag != "<code>" && tag != "</code>" && tag != "<summary>" && tag != "</summary>" {
				t.Errorf("HTML: %q", tag)
			}
		case *ast.HTMLBlock:
			for _, line := range strings.Split(string(n.Lines().Value(source)), "\n") {
				if strings.Contains(line, "<") && !strings.HasPrefix(line, "<details>") && line != "</details>" {
					t.Errorf("HTML: %q", line)
				}
			}
		case *extast.TableRow, *extast.TableHeader:
			rows = append(rows, n.ChildCount())
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestMarkdownStructure(t *testing.T) {
	t.Parallel()
	r := report()
	r.Trend.New = fixtureFindings()
	var b bytes.Buffer
	if err := writeMarkdown(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	rows := structure(t, b.Bytes())
	want := strings.Count(b.String(), "\n| ") - strings.Count(b.String(), "\n| --")
	if len(rows) != want || len(rows) < len(hostile) {
		t.Errorf("%d rows are read, %d were written", len(rows), want)
	}
}

// TestMarkdownTakesNothingFromText: links, images, mentions, markup and the ends
// of cells are what they say, and nothing else.
func TestMarkdownTakesNothingFromText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"[a](https://example.com)", "![a](x)", "<img src=x>", "<script>", "**b**", "_i_", "`c`", "~~d~~", "a|b", "@somebody", "#12", "!3", "$x$", ":tada:", "&lt;", `\|`} {
		if got := mdText(text); strings.ContainsAny(strings.NewReplacer("&#", "").Replace(got), "[]<>*_`~|@#!$:\\") {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
	if got := mdText("www.example.com"); strings.Contains(got, "www.") {
		t.Errorf("a link: %q", got)
	}
}

func FuzzMarkdown(f *testing.F) {
	for _, text := range append(hostile, "www.example.com", "https://example.com", "@somebody #12 !3", "a\\", "``", "\\|", "$x$", ":tada:", "[a](b)", "**b**", "<!--") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		source := "| a | b | c |\n| --- | --- | --- |\n| " + mdCode(text) + " | " + mdText(text) + " | end |\n"
		if rows := structure(t, []byte(source)); len(rows) != 2 || rows[1] != 3 {
			t.Errorf("%q is read as rows of %v cells", source, rows)
		}
		if !strings.Contains(rendered(t, source), "<td>end</td>") {
			t.Errorf("%q moves the last cell", source)
		}
	})
}

func rendered(t *testing.T, source string) string {
	t.Helper()
	var b bytes.Buffer
	if err := goldmark.New(goldmark.WithExtensions(extension.GFM)).Convert([]byte(source), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestMarkdownFits cuts at whole lines and says so.
func TestMarkdownFits(t *testing.T) {
	t.Parallel()
	var whole bytes.Buffer
	if err := writeMarkdown(t.Context(), &whole, report()); err != nil {
		t.Fatal(err)
	}
	for limit, cut := range map[int]bool{whole.Len(): false, whole.Len() - 1: true, 500: true} {
		var b bytes.Buffer
		if err := writeMarkdownWithin(t.Context(), &b, report(), limit); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "**Cut:**") != cut || b.Len() > limit+200 {
			t.Errorf("limit %d: %d bytes, ends in %q", limit, b.Len(), b.String()[b.Len()-80:])
		}
	}
}

// TestMarkdownIsBounded: a report of any size gives a summary of the same.
func TestMarkdownIsBounded(t *testing.T) {
	t.Parallel()
	r := many(5_000)
	for range 1_000 {
		r.Policies = append(r.Policies, engine.PolicyReport{Policy: engine.Policy{ID: "X", Title: strings.Repeat("long ", 50)}, Tally: engine.Tally{engine.Unknown: 1}})
	}
	var b bytes.Buffer
	if err := writeMarkdown(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 200_000 || !strings.Contains(b.String(), "… and 802 more.") {
		t.Errorf("%d bytes", b.Len())
	}
}
