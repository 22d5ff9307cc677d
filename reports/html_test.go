package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/reports/table"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

var (
	ownParts   = regexp.MustCompile(`(?s)(<style>|<script>).*?(</style>|</script>)`)
	ownDigests = regexp.MustCompile(`sha256-[A-Za-z0-9+/&#;=]+`)
)

// legiblePage leaves style, script and their digests out of the golden file: it
// is about the frame and the data.
func legiblePage(t *testing.T, page []byte) []byte {
	t.Helper()
	page = ownParts.ReplaceAll(page, []byte("$1…$2"))
	return ownDigests.ReplaceAll(page, []byte("sha256-…"))
}

func renderPage(t *testing.T, r engine.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := writeHTML(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// element is a start tag with the text right after it.
type element struct {
	name, text string
	attributes map[string]string
}

func elementsOf(t *testing.T, page string) []element {
	t.Helper()
	var all []element
	open := false
	tokens := html.NewTokenizer(strings.NewReader(page))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			if err := tokens.Err(); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			return all
		case html.StartTagToken, html.SelfClosingTagToken:
			token := tokens.Token()
			e := element{name: token.Data, attributes: map[string]string{}}
			for _, a := range token.Attr {
				e.attributes[a.Key] = a.Val
			}
			all, open = append(all, e), true
		case html.EndTagToken:
			open = false
		case html.TextToken:
			if open {
				all[len(all)-1].text += string(tokens.Raw())
			}
		}
	}
}

// TestPageAllowsOnlyItself: the policy names the digests of the one style and
// the one script, and no element asks for anything else.
func TestPageAllowsOnlyItself(t *testing.T) {
	t.Parallel()
	var policy string
	scripts, styles := 0, 0
	for _, e := range elementsOf(t, renderPage(t, report())) {
		if e.attributes["http-equiv"] == "Content-Security-Policy" {
			policy = e.attributes["content"]
		}
		switch {
		case e.name == "style":
			styles++
			if !strings.Contains(policy, "style-src '"+digest(e.text)+"'") {
				t.Error("the policy does not name the digest of the style, or comes after it")
			}
		case e.name == "script" && e.attributes["type"] != "application/json":
			scripts++
			if !strings.Contains(policy, "script-src '"+digest(e.text)+"'") {
				t.Error("the policy does not name the digest of the script")
			}
		}
		checkAttributes(t, e)
	}
	if scripts != 1 || styles != 1 || !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
		t.Errorf("%d scripts, %d styles, policy %q", scripts, styles, policy)
	}
}

func checkAttributes(t *testing.T, e element) {
	t.Helper()
	for name, value := range e.attributes {
		link := name == "href" && !strings.HasPrefix(value, "#") && value != "data:,"
		if link || name == "src" || name == "style" || strings.HasPrefix(name, "on") {
			t.Errorf("<%s %s=%q>", e.name, name, value)
		}
	}
}

// hostilePage is a report with markup in every text that a workspace, a
// waiver or a third party's policy can bring.
func hostilePage() engine.Report {
	const bad = `</script><img src=x onerror=alert(1)><!--<script>"'` + "\u202e"
	r := report()
	for i := range r.Workspaces {
		s := &r.Workspaces[i].Snapshot
		s.Workspace.Name, s.Workspace.Host, s.Workspace.Labels = bad, bad, map[string]string{bad: bad}
		s.Coverage = map[engine.SectionName]engine.Coverage{bad: {Status: engine.Failed, Reason: bad, Detail: bad, Hint: bad}}
	}
	for i := range r.Policies {
		p := &r.Policies[i].Policy
		p.Title, p.Description, p.Remediation, p.Source = bad, bad, bad, "package a\n# "+bad+"\n"
		p.Params = []engine.Param{{Name: bad, Description: bad, Value: bad, Default: bad, Origin: bad}}
		p.Controls, p.Aliases, p.Needs, p.Remedy = map[string][]string{bad: {bad}}, []string{bad}, []string{bad}, bad
	}
	r.Findings = table.Known([]engine.Finding{{
		Policy: "X-1", Title: bad, Severity: engine.High, Status: engine.Waived, Workspace: bad, WorkspaceID: bad, Resource: engine.ResourceToken,
		ResourceID: bad, Owner: bad, Message: bad, Evidence: map[string]any{bad: bad, "list": []any{bad}}, Remedy: bad, Fingerprint: bad,
		Waiver: &engine.Waiver{ID: bad, Reason: bad, Ticket: bad, Approver: bad, Expires: bad},
	}})
	row := tokenRow(prod, engine.Token{ID: bad, Comment: bad, OwnerID: bad, CreatorID: bad, CreatorName: bad, Scopes: []string{bad}, Defects: []engine.Defect{{Field: "x", Reason: bad, Value: bad}}})
	r.Tokens = table.Known([]engine.TokenRow{row})
	return r
}

func TestPageIsInert(t *testing.T) {
	t.Parallel()
	page := renderPage(t, hostilePage())
	for _, e := range elementsOf(t, page) {
		if e.name == "img" || len(e.attributes["onerror"]) > 0 {
			t.Errorf("made an element of text: %+v", e)
		}
		checkAttributes(t, e)
		if e.name == "script" && e.attributes["type"] == "application/json" && !json.Valid([]byte(e.text)) {
			t.Errorf("data broke: %.80q", e.text)
		}
	}
	if strings.Contains(page, "\u202e") || !strings.Contains(page, `\u{202e}`) {
		t.Error("text that acts is not made visible")
	}
}

// TestPageShowsNoSecret: also when its caller forgot to take them out.
func TestPageShowsNoSecret(t *testing.T) {
	t.Parallel()
	secret := "dapi" + strings.Repeat("0123456789abcdef", 2)
	r := report()
	quoting := fixtureFindings()[0]
	quoting.Message, quoting.Evidence = "says "+secret, map[string]any{"list": []any{"x " + secret}}
	r.Findings = table.Known([]engine.Finding{quoting})
	r.Tokens = table.Known([]engine.TokenRow{tokenRow(sandbox, engine.Token{ID: tokenID(1), Comment: "ci " + secret})})
	page := renderPage(t, r)
	if strings.Contains(page, secret) || strings.Count(page, "[redacted Databricks token]") != 3 {
		t.Errorf("shows a secret, or does not say that it left one out (%d)", strings.Count(page, "[redacted"))
	}
}

func TestPagePolicies(t *testing.T) {
	t.Parallel()
	page := renderPage(t, report())
	for _, want := range []string{
		`id="policy/PAT-007"`, "Whoever holds it is an admin for ever.", "Revoke it and use OAuth.", "NIST SP 800-53 Rev. 5",
		"[&#34;admins&#34;,&#34;&lt;ops&gt;&#34;]", "token/admin_endless.rego",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q", want)
		}
	}
}

func TestPacked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ values, want string }{
		{"1 1 1", `{"all":1}`},
		{"1 2 3", `[1,2,3]`},
		{"1 2 1 2 1", `{"of":[1,2],"at":[0,1,0,1,0]}`},
	} {
		var p packed
		for _, value := range strings.Fields(test.values) {
			p.add(value)
		}
		var b bytes.Buffer
		p.write(&b)
		if b.String() != test.want {
			t.Errorf("%s: got %s, want %s", test.values, b.String(), test.want)
		}
	}
}

func TestScriptValue(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		value any
		want  string
	}{
		{nil, "null"}, {table.Unknown{}, `{"is":"unknown"}`}, {table.Never{}, `{"is":"never"}`}, {table.Instant(5), "5"}, {-3, "-3"}, {true, "true"},
		{engine.High, `"high"`}, {"</script>", `"\u003c/script\u003e"`}, {"a\x00\u202e\xff", `"a\\u{0}\\u{202e}\\xff"`},
		{[]string{"a", "\u2028"}, `["a","\\u{2028}"]`}, {[]string{}, "[]"},
	} {
		got, err := scriptValue(test.value)
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("%#v: %v %s", test.value, err, diff)
		}
	}
}

func FuzzScriptValue(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded, err := scriptValue(text)
		if err != nil {
			t.Fatal(err)
		}
		var back string
		if err := json.Unmarshal([]byte(encoded), &back); err != nil || back != engine.SafeText(text) {
			t.Errorf("read back %q, %v", back, err)
		}
		if strings.ContainsAny(encoded, "<>&") {
			t.Errorf("%s could end its element", encoded)
		}
	})
}

// manyTokens makes a population of n tokens, and a finding for each, one at a time.
func manyTokens(n int) engine.Report {
	r := report()
	token := func(i int) engine.TokenRow {
		id := tokenID(i)
		created := asOf.Add(-time.Duration(i%900) * 24 * time.Hour).UnixMilli()
		t := engine.Token{ID: id, Comment: "nightly load " + id[:6], Created: &created, OwnerID: "7", CreatorID: "7", LastUsed: ms(-24 * (i % 90))}
		switch i % 5 {
		case 0:
			t.Expires = new(int64(engine.NeverExpires))
		case 1:
			t.LastUsed = nil
			fallthrough
		default:
			t.Expires = ms(24 * (i%400 - 20))
		}
		row := tokenRow(prod, t)
		row.Owner.Name = "user" + id[:2] + "@example.com"
		return row
	}
	r.Tokens = func(yield func(engine.TokenRow, error) bool) {
		for i := range n {
			if !yield(token(i), nil) {
				return
			}
		}
	}
	r.Findings = func(yield func(engine.Finding, error) bool) {
		for i := range n {
			f := finding("PAT-001", "Token never expires", engine.High, engine.Fail, prod, tokenID(i), "user@example.com", "never expires")
			f.Evidence = map[string]any{"never_expires": true, "created_at": "2026-01-01T00:00:00Z"}
			if !yield(f, nil) {
				return
			}
		}
	}
	r.Summary.Tokens = n
	return r
}

// TestPageStreams: memory does not grow with the population.
func TestPageStreams(t *testing.T) {
	enginetest.NotInRace(t)
	r := manyTokens(15 * blockRows)
	most := peakHeap(t, func() {
		if err := writeHTML(t.Context(), io.Discard, r); err != nil {
			t.Error(err)
		}
	})
	if limit := uint64(32 << 20); most > limit {
		t.Errorf("held %d MB, want at most %d", most>>20, limit>>20)
	}
}

// peakHeap samples what is alive in the heap while run runs.
func peakHeap(t *testing.T, run func()) uint64 {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most, done := m.HeapAlloc, uint64(0), make(chan struct{})
	go func() { defer close(done); run() }()
	for {
		select {
		case <-done:
			return most - min(most, before)
		case <-time.After(50 * time.Millisecond):
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
}

func BenchmarkHTML(b *testing.B) {
	r := manyTokens(100_000)
	b.ReportAllocs()
	for b.Loop() {
		var size byteCount
		if err := writeHTML(b.Context(), &size, r); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size)/1e6, "MB/file")
	}
}

// byteCount counts bytes.
type byteCount int

func (c *byteCount) Write(p []byte) (int, error) {
	*c += byteCount(len(p))
	return len(p), nil
}

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
	enginetest.NotInRace(t)
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
