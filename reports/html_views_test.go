package reports

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
)

// TestPageInBrowser opens the page as its readers do. Every tab fails its test
// when the page logs, breaks its policy, asks for anything or opens a dialog.
func TestPageInBrowser(t *testing.T) {
	t.Parallel()
	browser := chromium(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *tab)
		r    func() engine.Report
	}{
		{"views", testViews, report},
		{"empty", testEmpty, func() engine.Report {
			return engine.Report{AsOf: asOf, Findings: table.Known[engine.Finding](nil), Tokens: table.Known[engine.TokenRow](nil)}
		}},
		{"policy", testPolicyView, report},
		{"hostile", testHostile, hostilePage},
		{"fixture is inert", testFixtureInert, report},
		{"filters", testFilters, mixedReport},
		{"filter inputs", testFilterInputs, mixedReport},
		{"sort", testSort, mixedReport},
		{"export", testExport, mixedReport},
		{"export of findings", testExportFindings, report},
		{"timeline", testTimeline, mixedReport},
		{"keyboard", testKeyboard, mixedReport},
		{"details", testDetails, report},
		{"names", testNames, report},
		{"themes", testThemes, mixedReport},
		{"contrast", testContrast, report},
		{"phone", testPhone, report},
		{"print", testPrint, mixedReport},
		{"many", testMany, func() engine.Report { return manyTokens(100_000) }},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, openPage(t, browser, test.r())) })
	}
	t.Run("without script", func(t *testing.T) { testWithoutScript(t, openTab(t, browser, report())) })
	t.Run("trouble is seen", func(t *testing.T) { testTroubleIsSeen(t, openTab(t, browser, report())) })
}

// mixedReport has tokens of every state that a filter asks for.
func mixedReport() engine.Report {
	tokens := mixedTokens(700)
	r := report()
	r.Tokens, r.Summary.Tokens = table.Known(tokens), len(tokens)
	r.Findings = func(yield func(engine.Finding, error) bool) {
		for i, row := range tokens {
			status := []engine.Status{engine.Fail, engine.Waived, engine.Fail, engine.Unknown}[i%4]
			f := finding("PAT-001", "Token never expires", engine.Severities()[i%5], status, row.Workspace, row.Token.ID, row.Owner.Label(), "never expires")
			if i%3 == 0 && !yield(f, nil) {
				return
			}
		}
	}
	return r
}

func mixedTokens(n int) []engine.TokenRow {
	random := rand.New(rand.NewPCG(1, 2))
	rows := make([]engine.TokenRow, n)
	for i := range rows {
		token := engine.Token{ID: tokenID(i), Comment: hostile[i%len(hostile)], OwnerID: fmt.Sprint(100 + i%9), CreatorID: fmt.Sprint(100 + i%7)}
		token.Created = ms(-24*random.IntN(900) - random.IntN(24))
		switch random.IntN(6) {
		case 0:
			token.Expires = new(int64(engine.NeverExpires))
		case 1:
			token.Defects = []engine.Defect{{Field: "expiry_time", Reason: "bad_timestamp"}}
		default:
			token.Expires = ms(24*random.IntN(500) - 1200 + random.IntN(24))
		}
		if i%50 == 0 { // a cliff
			token.Expires = ms(24 * 40)
		}
		switch random.IntN(5) {
		case 0:
		case 1:
			token.Defects = append(token.Defects, engine.Defect{Field: "last_used_day", Reason: "bad_type"})
		default:
			token.LastUsed = ms(-24 * random.IntN(200))
		}
		w := prod
		if i >= n/2 {
			w = sandbox
		}
		rows[i] = tokenRow(w, token)
		rows[i].Owner = mixedOwner(i, token.OwnerID)
	}
	return rows
}

func mixedOwner(i int, id string) engine.Party {
	switch i % 9 {
	case 0:
		return engine.Party{ID: id, Kind: engine.Missing, Active: new(false), Admin: new(false)}
	case 1:
		return engine.Party{ID: id, Kind: engine.User, Name: "gone@example.com", Active: new(false), Admin: new(false)}
	case 2:
		return engine.Party{ID: id} // the directory was not read
	}
	return engine.Party{ID: id, Kind: engine.User, Name: fmt.Sprintf("Owner%d@example.com", i%9), Active: new(true), Admin: new(i%2 == 0)}
}

func count(rows []engine.TokenRow, keep func(engine.TokenRow) bool) int {
	return len(slices.DeleteFunc(slices.Clone(rows), func(row engine.TokenRow) bool { return !keep(row) }))
}

// said is the count above a table.
func (b *tab) said(table string) string { return b.text("#" + table + " .said") }

// sees waits until a table says how many rows it shows.
func (b *tab) sees(table string, rows, all int, noun string) {
	b.t.Helper()
	want := fmt.Sprintf("%s of %s", engine.Comma(rows), engine.Plural(all, noun))
	if rows == all {
		want = engine.Plural(all, noun)
	}
	for range 3000 {
		if b.said(table) == want {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := b.said(table); got != want {
		b.t.Errorf("says %q, want %q", got, want)
	}
	if got := eval[int](b, fmt.Sprintf(`+document.querySelector('#%s [role=grid]').getAttribute('aria-rowcount')`, table)); got != rows+1 {
		b.t.Errorf("grid says %d rows, want %d and a header", got, rows)
	}
}

func views() []string {
	return []string{"summary", "timeline", "findings", "tokens", "policies", "controls", "workspaces", "policy/PAT-007"}
}

func testViews(t *testing.T, b *tab) {
	const shown = `[...document.querySelectorAll('.view')].filter(view => !view.hidden && view.offsetHeight > 0).map(view => view.id).join()`
	for _, view := range views() {
		b.at(view)
		if got := eval[string](b, shown); got != view {
			t.Errorf("%s shows %q", view, got)
		}
	}
	b.at("no-such-view")
	if got := eval[string](b, shown); got != "summary" {
		t.Errorf("an unknown address shows %q", got)
	}
	b.do(chromedp.Click(chromedp.CSS(".tiles .high a")))
	high := report().Summary.Failed(engine.High)
	b.sees("findings", high, len(fixtureFindings()), "finding")
	b.do(chromedp.NavigateBack())
	b.wait(`!document.getElementById('summary').hidden`)
}

func testEmpty(t *testing.T, b *tab) {
	for _, view := range views()[:7] {
		b.at(view)
	}
	b.at("tokens")
	if got := b.text("#tokens tbody"); !strings.Contains(got, "Nothing matches") {
		t.Errorf("an empty table says %q", got)
	}
}

func testPolicyView(t *testing.T, b *tab) {
	b.at("policies")
	b.do(chromedp.Click(chromedp.CSS(`#policies a[href="#policy/PAT-007"]`)))
	b.wait(`!document.getElementById('policy/PAT-007').hidden`)
	text := eval[string](b, `document.getElementById('policy/PAT-007').innerText`)
	for _, want := range []string{
		"Token of an admin never expires", "is an admin for ever.", "Revoke it and use OAuth.", "IA-5, AC-6",
		"grace_days", "14", `["admins","<ops>"]`, "sat:IA-4", "token/admin_endless.rego",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the policy's page lacks %q", want)
		}
	}
	b.do(chromedp.Click(chromedp.CSS(`.view:not([hidden]) .facts a[href$="status=fail"]`)))
	b.sees("findings", 1, len(fixtureFindings()), "finding")
}

// testHostile looks for elements that text became, and for the text itself.
func testHostile(t *testing.T, b *tab) {
	visible := `</script><img src=x onerror=alert(1)><!--<script>"'\u{202e}`
	for _, view := range []string{"summary", "workspaces", "controls", "policy/PAT-007", "findings", "tokens", "timeline"} {
		b.at(view)
		if view != "timeline" && !strings.Contains(eval[string](b, `document.querySelector('.view:not([hidden])').innerText`), visible) {
			t.Errorf("%s does not show the text as it is", view)
		}
	}
	for _, view := range []string{"findings", "tokens"} {
		b.at(view)
		b.do(chromedp.Click(chromedp.CSS("#" + view + " [data-index='0']")))
		if got := strings.Count(b.text("#details"), visible); got < 5 {
			t.Errorf("details of %s show the text %d times", view, got)
		}
		b.do(chromedp.Click(chromedp.CSS("#details-close")))
	}
	if n := eval[int](b, `document.querySelectorAll('img, iframe, object, embed, [onerror]').length + document.scripts.length - document.querySelectorAll('script[type="application/json"]').length`); n != 1 {
		t.Errorf("%d elements that are not ours", n-1)
	}
}

func testFixtureInert(t *testing.T, b *tab) {
	b.at("tokens")
	text := eval[string](b, `dispatchEvent(new Event('beforeprint')), document.querySelector('#tokens .printed').textContent`)
	for _, comment := range hostile {
		if want := strings.Join(strings.Fields(engine.SafeText(comment)), " "); !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
			t.Errorf("comment %q is not seen", want)
		}
	}
}

func testFilters(t *testing.T, b *tab) {
	rows := mixedTokens(700)
	date := func(hours int) string { return time.UnixMilli(*ms(hours)).UTC().Format(time.DateOnly) }
	dayOf := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.DateOnly) }
	expires := func(r engine.TokenRow) bool {
		return r.Token.Expires != nil && *r.Token.Expires != engine.NeverExpires
	}
	for address, keep := range map[string]func(engine.TokenRow) bool{
		"q=script": func(r engine.TokenRow) bool { return strings.Contains(r.Token.Comment, "script") },
		"q=ALERT+sandbox": func(r engine.TokenRow) bool {
			return strings.Contains(r.Token.Comment, "alert") && r.Workspace.ID == sandbox.ID
		},
		"workspace=" + prod.ID:        func(r engine.TokenRow) bool { return r.Workspace.ID == prod.ID },
		"owner=owner4@EXAMPLE":        func(r engine.TokenRow) bool { return r.Owner.Name == "Owner4@example.com" },
		"owner=102":                   func(r engine.TokenRow) bool { return r.Owner.ID == "102" },
		"inactive=yes":                func(r engine.TokenRow) bool { return r.Owner.Active != nil && !*r.Owner.Active },
		"endless=yes":                 func(r engine.TokenRow) bool { return r.Token.Expires != nil && *r.Token.Expires == engine.NeverExpires },
		"expiry=unknown":              func(r engine.TokenRow) bool { return r.Token.Expires == nil },
		"expiry=expired":              func(r engine.TokenRow) bool { return r.Facts.Expired != nil && *r.Facts.Expired },
		"expiry=coming":               func(r engine.TokenRow) bool { return expires(r) && !*r.Facts.Expired },
		"expiry=live":                 func(r engine.TokenRow) bool { return r.Facts.Expired == nil || !*r.Facts.Expired },
		"use=never":                   func(r engine.TokenRow) bool { return r.Facts.Used != nil && !*r.Facts.Used },
		"use=unknown":                 func(r engine.TokenRow) bool { return r.Facts.Used == nil },
		"age=31-90":                   func(r engine.TokenRow) bool { return *r.Facts.AgeDays >= 31 && *r.Facts.AgeDays <= 90 },
		"idle=180-":                   func(r engine.TokenRow) bool { return r.Facts.IdleDays != nil && *r.Facts.IdleDays >= 180 },
		"created_from=" + date(-4800): func(r engine.TokenRow) bool { return dayOf(*r.Token.Created) >= date(-4800) },
		"created_to=" + date(-4800):   func(r engine.TokenRow) bool { return dayOf(*r.Token.Created) <= date(-4800) },
		"expires_from=" + date(0) + "&expires_to=" + date(2400): func(r engine.TokenRow) bool {
			return expires(r) && dayOf(*r.Token.Expires) >= date(0) && dayOf(*r.Token.Expires) <= date(2400)
		},
		"used_from=" + date(-480): func(r engine.TokenRow) bool { return r.Token.LastUsed != nil && dayOf(*r.Token.LastUsed) >= date(-480) },
		"used_to=" + date(-480):   func(r engine.TokenRow) bool { return r.Token.LastUsed != nil && dayOf(*r.Token.LastUsed) <= date(-480) },
		"inactive=yes&endless=yes&workspace=" + prod.ID: func(r engine.TokenRow) bool {
			return r.Workspace.ID == prod.ID && r.Owner.Active != nil && !*r.Owner.Active && r.Token.Expires != nil && *r.Token.Expires == engine.NeverExpires
		},
	} {
		b.at("tokens?" + address)
		want := count(rows, keep)
		if want == 0 || want == len(rows) {
			t.Errorf("%s tests nothing: %d of %d", address, want, len(rows))
		}
		b.sees("tokens", want, len(rows), "token")
	}
}

// testFilterInputs works the filters by hand; the address follows.
func testFilterInputs(t *testing.T, b *tab) {
	rows := mixedTokens(700)
	b.at("tokens")
	b.do(chromedp.Click(chromedp.CSS("label[for=tokens-inactive]")))
	inactive := func(r engine.TokenRow) bool { return r.Owner.Active != nil && !*r.Owner.Active }
	b.sees("tokens", count(rows, inactive), len(rows), "token")
	b.do(chromedp.SetValue(chromedp.ID("tokens-workspace"), sandbox.ID), chromedp.Evaluate[chromedp.Void](`document.getElementById('tokens-workspace').dispatchEvent(new Event('input', {bubbles: true}))`))
	both := func(r engine.TokenRow) bool { return inactive(r) && r.Workspace.ID == sandbox.ID }
	b.sees("tokens", count(rows, both), len(rows), "token")
	b.do(chromedp.SendKeys(chromedp.ID("tokens-q"), "hyperlink"))
	found := func(r engine.TokenRow) bool { return both(r) && strings.Contains(r.Token.Comment, "HYPERLINK") }
	want := count(rows, found)
	b.wait(fmt.Sprintf(`document.querySelector('#tokens .said').textContent.startsWith('%d of')`, want))
	b.wait(fmt.Sprintf("location.hash === '#tokens?q=hyperlink&workspace=%s&inactive=yes'", sandbox.ID)) // all keys have come
	b.do(chromedp.Reload(), chromedp.WaitReady(chromedp.CSS("main[aria-busy=false]")))
	b.sees("tokens", want, len(rows), "token")
	b.do(chromedp.Click(chromedp.Search("//section[@id='tokens']//button[text()='Clear filters']")))
	b.sees("tokens", len(rows), len(rows), "token")
	if got := eval[string](b, `document.getElementById('tokens-q').value + document.getElementById('tokens-inactive').checked`); got != "false" {
		t.Errorf("inputs hold %q after clearing", got)
	}
	b.at("findings")
	b.do(chromedp.Click(chromedp.CSS("#findings input[value=critical]")), chromedp.Click(chromedp.CSS("#findings input[value=fail]")))
	if hash := eval[string](b, "location.hash"); hash != "#findings?severity=critical&status=fail" {
		t.Errorf("address is %q", hash)
	}
}

// firstCells reads a column of the rows that are drawn.
func firstCells(b *tab, column string) []string {
	return eval[[]string](b, fmt.Sprintf(`[...document.querySelectorAll('#tokens [data-index] .c-%s')].slice(0, 20).map(cell => cell.innerText)`, column))
}

func testSort(t *testing.T, b *tab) {
	b.at("tokens")
	inOrder := firstCells(b, "token_id")
	button := `#tokens th.c-created_at button`
	b.do(chromedp.Click(chromedp.CSS(button)))
	up := firstCells(b, "created_at")
	if order := eval[string](b, `document.querySelector('#tokens th.c-created_at').getAttribute('aria-sort')`); order != "ascending" || !slices.IsSorted(up) {
		t.Errorf("%s: %v", order, up)
	}
	b.do(chromedp.Click(chromedp.CSS(button)))
	down := firstCells(b, "created_at")
	slices.Reverse(down)
	if !slices.IsSorted(down) || down[0] < up[len(up)-1] {
		t.Errorf("descending: %v", down)
	}
	b.do(chromedp.Click(chromedp.CSS(button)))
	if diff := cmp.Diff(inOrder, firstCells(b, "token_id")); diff != "" {
		t.Errorf("a third click does not bring the order back:\n%s", diff)
	}
	b.at("tokens?sort=expires_at&order=down")
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('#tokens .scroller').scrollTop = 1e9`))
	b.wait(`document.querySelector('#tokens [aria-rowindex="701"]') !== null`)
	last := eval[string](b, `document.querySelector('#tokens [aria-rowindex="701"] .c-expires_at').innerText`)
	if last != "unknown" {
		t.Errorf("what is unknown does not come last, but %q", last)
	}
}

// expected is CSV as patrol writes it, of rows whose text is already visible as
// the page holds it.
func expected[T any](t *testing.T, columns []table.Column[T], rows []T) string {
	t.Helper()
	for i, c := range columns {
		value := c.Value
		columns[i].Value = func(row T) any { return visible(value(row)) }
	}
	var b bytes.Buffer
	if err := table.CSV(t.Context(), &b, columns, table.Known(rows)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func visible(value any) any {
	switch v := value.(type) {
	case string:
		return foreign(v)
	case []string:
		return table.Map(v, foreign)
	}
	return value
}

func testExport(t *testing.T, b *tab) {
	rows := mixedTokens(700)
	b.at("tokens")
	text := b.download("#tokens .buttons button:last-child", "patrol-tokens.csv")
	if diff := cmp.Diff(expected(t, tokenColumns(), rows), text); diff != "" {
		t.Error(diff)
	}
	checkInert(t, text)
	b.at("tokens?endless=yes&sort=created_at")
	text = b.download("#tokens .buttons button:last-child", "patrol-tokens.csv")
	endless := slices.DeleteFunc(rows, func(r engine.TokenRow) bool { return r.Token.Expires == nil || *r.Token.Expires != engine.NeverExpires })
	slices.SortStableFunc(endless, func(a, b engine.TokenRow) int { return int(*a.Token.Created - *b.Token.Created) })
	if diff := cmp.Diff(expected(t, tokenColumns(), endless), text); diff != "" {
		t.Error(diff)
	}
}

func testExportFindings(t *testing.T, b *tab) {
	b.at("findings?status=waived,unknown,error,baselined")
	text := b.download("#findings .buttons button:last-child", "patrol-findings.csv")
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(records) != 5 {
		t.Errorf("%d records, %v", len(records), err)
	}
	var wanted []engine.Finding
	for _, f := range fixtureFindings() {
		if f.Status != engine.Fail {
			wanted = append(wanted, f)
		}
	}
	if diff := cmp.Diff(expected(t, findingColumns(asOf), wanted), text); diff != "" {
		t.Error(diff)
	}
}

// coloured finds a place in the scatter where a token is drawn.
const coloured = `(() => {
	scrollTo(0, 0);
	const canvas = document.getElementById('scatter'), box = canvas.getBoundingClientRect();
	const {data, width, height} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
	for (let y = height - 80; y > 20; y--) {
		for (let x = 60; x < width - 20; x++) {
			const at = 4 * (y * width + x);
			if (data[at + 2] > data[at] + 60) return [box.x + x + 2, box.y + y - 2];
		}
	}
	return [0, 0];
})()`

// testTimeline follows every number to the tokens that it counts.
func testTimeline(t *testing.T, b *tab) {
	b.at("timeline")
	type link struct{ Address, Label string }
	links := eval[[]link](b, `[...document.querySelectorAll('#timeline a')].filter((a, i) => !a.title || i % 7 === 0).map(a => ({Address: a.hash.slice(1), Label: a.title || a.innerText}))`)
	if len(links) < 60 {
		t.Errorf("only %d links", len(links))
	}
	if cliffs := eval[int](b, `document.querySelectorAll('#months .cliff').length`); cliffs != 1 {
		t.Errorf("%d cliffs marked, want 1", cliffs)
	}
	for _, l := range links {
		if !strings.ContainsAny(l.Label, "0123456789") || strings.Count(l.Label, "-") == 2 && !strings.Contains(l.Label, ":") {
			continue // a cliff's date
		}
		b.at(l.Address)
		said := strings.Fields(b.said("tokens"))[0]
		if !slices.Contains(strings.Fields(strings.NewReplacer(":", " ", ",", "").Replace(l.Label)), said) {
			t.Errorf("%q leads to %s tokens", l.Label, said)
		}
	}
	b.at("timeline")
	cell := eval[[]float64](b, coloured)
	if cell[0] == 0 {
		t.Fatal("the scatter is blank")
	}
	b.do(chromedp.MouseClickXY(cell[0], cell[1]))
	b.wait(`location.hash.startsWith('#tokens?age=') && document.querySelectorAll('#tokens .chip').length === 2`)
}

func testKeyboard(t *testing.T, b *tab) {
	focused := func() string {
		return eval[string](b, `document.activeElement.id || document.activeElement.innerText || document.activeElement.tagName`)
	}
	b.do(chromedp.KeyEvent("\t"))
	if got := focused(); got != "Skip to the content" {
		t.Errorf("first in order is %q", got)
	}
	b.at("tokens")
	if got := focused(); got != "main" {
		t.Errorf("a new view leaves the focus at %q", got)
	}
	seen := []string{}
	for range 60 {
		b.do(chromedp.KeyEvent("\t"))
		seen = append(seen, eval[string](b, `document.activeElement.id || document.activeElement.getAttribute('role') || document.activeElement.tagName`))
		if seen[len(seen)-1] == "grid" {
			break
		}
	}
	if seen[len(seen)-1] != "grid" || !slices.Contains(seen, "tokens-q") || !slices.Contains(seen, "tokens-endless") {
		t.Fatalf("tab goes through %v", seen)
	}
	active := `document.getElementById(document.querySelector('#tokens [role=grid]').getAttribute('aria-activedescendant'))`
	inSight := active + `.getBoundingClientRect().bottom <= document.querySelector('#tokens .scroller').getBoundingClientRect().bottom + 1`
	for _, step := range []struct {
		key  string
		want int
	}{{kb.ArrowDown, 3}, {kb.ArrowDown, 4}, {kb.ArrowUp, 3}, {kb.End, 701}, {kb.ArrowDown, 701}, {kb.ArrowUp, 700}, {kb.Home, 2}} {
		b.do(chromedp.KeyEvent(step.key))
		if got := eval[int](b, "+"+active+`.getAttribute('aria-rowindex')`); got != step.want || !eval[bool](b, inSight) {
			t.Errorf("%q leads to row %d, want %d in sight", step.key, got, step.want)
		}
	}
	b.do(chromedp.KeyEvent(kb.PageDown), chromedp.KeyEvent("\r"))
	b.wait(`document.getElementById('details').open`)
	if got := focused(); got != "details-title" {
		t.Errorf("focus in details is at %q", got)
	}
	b.do(chromedp.KeyEvent(kb.Escape))
	b.wait(`!document.getElementById('details').open`)
	if got := eval[string](b, `document.activeElement.getAttribute('role')`); got != "grid" {
		t.Errorf("focus comes back to %q", got)
	}
	if style := eval[string](b, `getComputedStyle(document.querySelector('#tokens .scroller')).outlineStyle`); style != "solid" {
		t.Errorf("focus on the grid is not seen: %q", style)
	}
}

func testDetails(t *testing.T, b *tab) {
	b.at("findings?status=waived")
	b.do(chromedp.Click(chromedp.CSS("#findings [data-index='0']")))
	for _, want := range []string{"-until the migration", "SEC-1", "bob@example.com", "2026-09-30", "PAT-001"} {
		if text := b.text("#details"); !strings.Contains(text, want) {
			t.Errorf("details lack %q", want)
		}
	}
	b.do(chromedp.Click(chromedp.CSS("#details-close")))
	b.at("findings?severity=critical&status=fail")
	b.do(chromedp.Click(chromedp.CSS("#findings [data-index='0']")))
	if text := b.text("#details"); !strings.Contains(text, `=1;-1\u{202e}\xff<b>`) || !strings.Contains(text, "9007199254740993") {
		t.Errorf("evidence is not shown as it is: %q", text)
	}
	b.do(chromedp.Click(chromedp.Search("//dialog//button[text()='Show the token']")))
	if text := b.text("#details"); !strings.Contains(text, "1 finding") || !strings.Contains(text, tokenID(1)) {
		t.Errorf("the token's details are %q", text)
	}
	b.do(chromedp.Click(chromedp.CSS("#details .list button")), chromedp.Click(chromedp.CSS(`#details a[href="#policy/PAT-007"]`)))
	b.wait(`!document.getElementById('policy/PAT-007').hidden && !document.getElementById('details').open`)
}

// testNames: whatever can be worked has a name, and pictures have one too.
func testNames(t *testing.T, b *tab) {
	for _, view := range views() {
		b.at(view)
		nameless := eval[[]string](b, `[...document.querySelectorAll('.view:not([hidden]) :is(input, select, button, a, svg[role=img], canvas, [role=region], [role=grid])')]
			.filter(e => !(e.textContent || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.labels?.[0]?.textContent)).map(e => e.outerHTML)`)
		if len(nameless) > 0 {
			t.Errorf("%s: without a name: %v", view, nameless)
		}
	}
	if n := eval[int](b, `(() => { const ids = [...document.querySelectorAll('[id]')].map(e => e.id); return ids.length - new Set(ids).size; })()`); n != 0 {
		t.Errorf("%d ids occur twice", n)
	}
}

func testThemes(t *testing.T, b *tab) {
	ground := func() string { return eval[string](b, `getComputedStyle(document.body).backgroundColor`) }
	b.theme("light")
	light := ground()
	b.theme("dark")
	dark := ground()
	if light == dark {
		t.Errorf("both themes of the system are %s", light)
	}
	b.do(chromedp.Click(chromedp.ID("theme")))
	if got := ground(); got != light {
		t.Errorf("the toggle gives %s, want %s", got, light)
	}
	b.do(chromedp.Click(chromedp.ID("theme")))
	if got := ground(); got != dark {
		t.Errorf("the toggle gives %s, want %s", got, dark)
	}
}

// weak lists texts whose contrast with what is behind them is below 4.5.
const weak = `(() => {
	const channels = color => color.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = element => {
		for (let e = element; e; e = e.parentElement) {
			const ground = channels(getComputedStyle(e).backgroundColor);
			if (ground.length === 3 || ground[3] === 1) return ground;
		}
		return [255, 255, 255];
	};
	const bad = new Set();
	for (const e of document.querySelectorAll('body *')) {
		if (!e.checkVisibility() || e.disabled || e.closest('[aria-hidden=true]') || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
		const [a, b] = [light(channels(getComputedStyle(e).color)), light(behind(e))];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) bad.add(e.tagName + '.' + e.className + ' ' + ratio.toFixed(2));
	}
	return [...bad];
})()`

func testContrast(t *testing.T, b *tab) {
	for _, theme := range []string{"light", "dark"} {
		b.theme(theme)
		for _, view := range append(views(), "findings?severity=critical") {
			b.at(view)
			if bad := eval[[]string](b, weak); len(bad) > 0 {
				t.Errorf("%s, %s: %v", theme, view, bad)
			}
		}
		b.do(chromedp.Click(chromedp.CSS("#findings [data-index='0']")))
		if bad := eval[[]string](b, weak); len(bad) > 0 {
			t.Errorf("%s, details: %v", theme, bad)
		}
		b.do(chromedp.Click(chromedp.CSS("#details-close")))
	}
}

func testPhone(t *testing.T, b *tab) {
	b.size(390, 844)
	b.load()
	for _, view := range views() {
		b.at(view)
		if width := eval[int](b, `document.documentElement.scrollWidth`); width > 390 {
			t.Errorf("%s is %d pixels wide", view, width)
		}
	}
	b.at("tokens")
	if open := eval[bool](b, `document.querySelector('#tokens .panel').open`); open {
		t.Error("the filters hide the table")
	}
	heights := eval[[]float64](b, `[...new Set([...document.querySelectorAll('#tokens [data-index]')].map(row => row.offsetHeight))]`)
	if len(heights) != 1 || heights[0] != 84 {
		t.Errorf("rows are %v pixels high: the scroll bar would lie", heights)
	}
}

func testPrint(t *testing.T, b *tab) {
	b.at("tokens?workspace=" + prod.ID)
	eval[any](b, `dispatchEvent(new Event('beforeprint'))`)
	if n := eval[int](b, `document.querySelectorAll('#tokens .printed tbody tr').length`); n != 350 {
		t.Errorf("prints %d rows, want 350", n)
	}
	eval[any](b, `dispatchEvent(new Event('afterprint'))`)
	if n := eval[int](b, `document.querySelectorAll('.printed *').length`); n != 0 {
		t.Errorf("%d elements are left behind", n)
	}
	pdf, err := chromedp.Run(b.ctx, chromedp.PrintToPDF())
	if err != nil || !bytes.HasPrefix(pdf, []byte("%PDF")) || bytes.Count(pdf, []byte("/Type /Page\n")) < 5 {
		t.Errorf("printed %d bytes: %v", len(pdf), err)
	}
}

// testMany: rows come and go as the table scrolls, whatever their number.
func testMany(t *testing.T, b *tab) {
	const drawn = `document.querySelectorAll('#tokens [data-index]').length`
	b.at("tokens")
	b.sees("tokens", 100_000, 100_000, "token")
	if n := eval[int](b, drawn); n < 10 || n > 80 {
		t.Errorf("%d rows are drawn", n)
	}
	for _, part := range []float64{0.5, 1, 0.001} {
		eval[any](b, fmt.Sprintf(`document.querySelector('#tokens .scroller').scrollTop = %v * document.querySelector('#tokens .scroller').scrollHeight`, part))
		row := int(part*100_000) - 60
		b.wait(fmt.Sprintf(`[...document.querySelectorAll('#tokens [data-index]')].some(row => Math.abs(row.dataset.index - %d) < 60)`, row))
		if n := eval[int](b, drawn); n < 10 || n > 80 {
			t.Errorf("%d rows are drawn at %v", n, part)
		}
	}
	eval[any](b, `document.querySelector('#tokens [role=grid]').focus()`)
	b.do(chromedp.KeyEvent(kb.End))
	b.wait(`document.querySelector('#tokens [aria-selected]')?.getAttribute('aria-rowindex') === '100001'`)
	b.do(chromedp.SendKeys(chromedp.ID("tokens-q"), tokenID(4711)[:20]))
	b.sees("tokens", 1, 100_000, "token")
	b.at("tokens?endless=yes&sort=created_at")
	b.sees("tokens", 20_000, 100_000, "token")
	b.at("timeline")
	b.wait(`document.querySelectorAll('#scatter-table a').length > 5`)
	b.at("findings?q=" + tokenID(4711)[:20])
	b.sees("findings", 1, 100_000, "finding")
}

// testWithoutScript: what the template wrote can be read all the same.
func testWithoutScript(t *testing.T, b *tab) {
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.do(chromedp.Navigate(b.url))
	text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("body")))
	b.check(err)
	for _, want := range []string{"Verdict: incomplete", "need JavaScript", "What was not read", "Why it matters"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if strings.Contains(text, "Expiry calendar") {
		t.Error("shows a chart that is not drawn")
	}
}

// testTroubleIsSeen proves that the tests above would fail: the policy stops a
// request and markup from strings, and both are told.
func testTroubleIsSeen(t *testing.T, b *tab) {
	b.load()
	if n := len(b.troubles()); n != 0 {
		t.Errorf("trouble before any was made: %v", b.troubles())
	}
	refused := eval[string](b, `(() => { try { document.body.insertAdjacentHTML('beforeend', '<img src=x>'); return 'made'; } catch (e) { return e.name; } })()`)
	fetched := eval[string](b, `fetch('https://example.com/').then(() => 'fetched', e => e.name)`)
	if refused != "TypeError" || fetched != "TypeError" || eval[int](b, `document.images.length`) != 0 {
		t.Errorf("markup %s, request %s", refused, fetched)
	}
	eval[any](b, `console.log('hello')`)
	eval[any](b, `setTimeout(() => { throw new Error('thrown'); }, 0); new Promise(done => setTimeout(done, 50))`)
	seen := strings.Join(b.troubles(), "\n")
	for _, want := range []string{"Content Security Policy", "console.log", "exception"} {
		if !strings.Contains(seen, want) {
			t.Errorf("no %q among\n%s", want, seen)
		}
	}
}
