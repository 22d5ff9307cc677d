package reports

import (
	"bufio"
	"context"
	"io"

	"patrol/engine"
)

// HTML is the audit as one page for people: it loads nothing and sends nothing.
func (catalogue) HTML() Format {
	return Format{
		Name:  "html",
		File:  "audit.html",
		Doc:   "the audit as one self-contained page: charts, filters, policies",
		Write: writeHTML,
	}
}

// writeHTML writes the frame with all that is small, then findings and tokens as
// blocks of JSON for its script.
func writeHTML(ctx context.Context, w io.Writer, r engine.Report) error {
	r = r.Redacted() // whoever calls may have done so; a page is passed around too easily to rely on it
	parts, err := newAssets()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	if err := parts.writeFrame(out, newPage(r)); err != nil {
		return err
	}
	if err := writeBlocks(ctx, out, "findings", findingColumns(r.AsOf), inertFindings(r.Findings)); err != nil {
		return err
	}
	if err := writeBlocks(ctx, out, "tokens", tokenColumns(), r.Tokens); err != nil {
		return err
	}
	if _, err := out.WriteString(tail); err != nil {
		return err
	}
	return out.Flush()
}
