package reports

import (
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/reports/table"
)

// hostileReport has every text of testdata/hostile in every field of a report
// that is somebody else's.
func hostileReport(t *testing.T) engine.Report {
	t.Helper()
	texts, err := enginetest.HostileTexts("..")
	if err != nil || len(texts) < 50 {
		t.Fatalf("%d texts: %v", len(texts), err)
	}
	r := report()
	var findings []engine.Finding
	var tokens []engine.TokenRow
	settings := engine.Settings{}
	for i, h := range texts {
		text := h.Text
		f := finding("PAT-001", "Token never expires", engine.High, engine.Fail, prod, text, text, text)
		f.Evidence = map[string]any{text: text, "list": []any{text}}
		findings = append(findings, f)
		row := tokenRow(prod, engine.Token{ID: text, Comment: text, Created: ms(-100 * 24), Expires: ptr(engine.NeverExpires), OwnerID: "7",
			CreatorID: text, CreatorName: text, Scopes: []string{text}, Defects: []engine.Defect{{Field: text, Reason: text, Value: text}}})
		row.Owner.Name = text
		tokens = append(tokens, row)
		settings[tokenID(i)] = engine.Setting{Value: &text}
	}
	r.Workspaces[0].Settings = settings
	r.Findings, r.Tokens = table.Known(findings), table.Known(tokens)
	return r
}

// TestHostileTextInABrowser: the page asks nothing, loads nothing, and complains of nothing.
func TestHostileTextInABrowser(t *testing.T) {
	t.Parallel()
	b := openPage(t, chromium(t), hostileReport(t))
	for _, tab := range []string{"findings", "tokens", "workspaces"} {
		b.at("#" + tab)
	}
	b.wait(`document.querySelectorAll("[pwned], pwned-element, img[src=x], [onerror], [onmouseover], a[href*=pwned], script[src]").length === 0`)
}
