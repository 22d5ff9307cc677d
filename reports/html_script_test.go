package reports

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/reports/table"

	"golang.org/x/net/html"
)

// breakers end a script element, or keep it from ending, where they are written
// as they are: in whatever case and spelling browsers take for an end, and by
// the comment in a script after which one end is not enough.
func breakers() []string {
	return []string{
		"</script>", "</script><script>document.title = 'pwned'</script>", "</SCRIPT >", "</script/x>", "</script\u00a0>", "</scr</script>ipt>",
		"<!--<script>", "<!--", "-->", "]]>", "<script", `"</script>"`, `\</script>`, "&lt;/script&gt;", "\u003c/script\u003e", "\u2028</script>",
	}
}

// brokenPage has a breaker in every text of each table of the page.
func brokenPage(texts []string) engine.Report {
	r := report()
	var findings []engine.Finding
	var tokens []engine.TokenRow
	for _, text := range texts {
		f := finding(text, text, engine.High, engine.Fail, prod, text, text, text)
		f.Evidence = map[string]any{text: text, "list": []any{text}}
		findings = append(findings, f)
		row := tokenRow(prod, engine.Token{ID: text, Comment: text, OwnerID: text, CreatorID: text, CreatorName: text, Scopes: []string{text},
			Defects: []engine.Defect{{Field: text, Reason: text, Value: text}}})
		row.Owner.Name, row.Workspace.Name = text, text
		tokens = append(tokens, row)
	}
	r.Findings, r.Tokens = table.Known(findings), table.Known(tokens)
	return r
}

// shownOf are texts as the page shows them.
func shownOf(texts []string) []string {
	var shown []string
	for _, text := range texts {
		shown = append(shown, engine.SafeText(text))
	}
	return shown
}

// scriptsOf parses a page as browsers do and gives what its script elements hold.
func scriptsOf(t *testing.T, page string) []string {
	t.Helper()
	tree, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var scripts []string
	for n := range tree.Descendants() {
		if n.Type == html.ElementNode && n.Data == "script" {
			text := ""
			for child := range n.ChildNodes() {
				text += child.Data
			}
			scripts = append(scripts, text)
		}
	}
	return scripts
}

// textsIn are all texts of a JSON value, keys included.
func textsIn(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var texts []string
		for _, element := range v {
			texts = append(texts, textsIn(element)...)
		}
		return texts
	case map[string]any:
		var texts []string
		for key, element := range v {
			texts = append(append(texts, key), textsIn(element)...)
		}
		return texts
	}
	return nil
}

// TestNoTextEndsAScript: every block of data is whole, holds the texts as they
// were, and there are no more elements than of harmless texts.
func TestNoTextEndsAScript(t *testing.T) {
	t.Parallel()
	harmless := make([]string, len(breakers()))
	for i := range harmless {
		harmless[i] = strings.Repeat("x", i+1)
	}
	page := renderPage(t, brokenPage(breakers()))
	scripts := scriptsOf(t, page)
	if want := len(scriptsOf(t, renderPage(t, brokenPage(harmless)))); len(scripts) != want {
		t.Errorf("%d script elements, want %d", len(scripts), want)
	}
	holdTexts(t, scripts[1:])
}

// holdTexts wants blocks of JSON that hold each text as it was.
func holdTexts(t *testing.T, blocks []string) {
	t.Helper()
	var held []string
	for _, text := range blocks {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Errorf("data broke: %v in %.80q", err, text)
		}
		held = append(held, textsIn(value)...)
	}
	for _, text := range shownOf(breakers()) {
		if !slices.Contains(held, text) {
			t.Errorf("no block holds %q", text)
		}
	}
}

// TestNoTextEndsAScriptInABrowser says the same of a browser.
func TestNoTextEndsAScriptInABrowser(t *testing.T) {
	t.Parallel()
	browser := chromium(t)
	b := openPage(t, browser, brokenPage(breakers()))
	for _, tab := range []string{"findings", "tokens", "workspaces"} {
		b.at("#" + tab)
	}
	const read = `[...document.querySelectorAll("script[type='application/json']")].map(s => { try { JSON.parse(s.textContent); return s.textContent } catch (e) { return "" } })`
	holdTexts(t, eval[[]string](b, read))
	if got := eval[int](b, "document.scripts.length"); got != len(scriptsOf(t, renderPage(t, brokenPage(breakers())))) {
		t.Errorf("%d script elements", got)
	}
	if title := eval[string](b, "document.title"); strings.Contains(title, "pwned") {
		t.Errorf("a text ran: the title is %q", title)
	}
}
