// Package collectors reads workspaces through the Databricks API into
// captures, and token lists that were exported to a file.
//
// One file per section of a snapshot declares what it calls and which right it
// needs; nothing lists them. A Client does what all of them need: sign in as
// every Databricks tool does, change nothing (GET, and queries of our own), stay below the platform's
// rate limits, wait and try again within a budget, refuse redirects and plain
// http, and say in one stable word why an answer could not be used. What could
// not be read becomes the section's coverage: it is reported, never skipped.
//
// Token lists are not paged by the platform and may hold a million rows, so
// that an answer is spooled (memory, then a private temporary file) and
// indexed; an Outcome must therefore be closed when its rows have been read.
package collectors

import (
	"cmp"
	"context"
	"slices"

	"patrol/engine"
)

// Collector reads one section of a workspace.
type Collector struct {
	Section engine.SectionName
	Doc     string   // what it reads, for people
	Calls   []string // requests that it sends, as "GET /path"
	Rights  string   // what the caller needs, for people
	Scopes  []string // API scopes that its calls need, the narrowest of each; nil where a file is read
	// Order is that of lists and reports.
	Order int
	// First says that the section is read before those that follow it: tokens
	// before principals, so that the owner of a token made meanwhile is not
	// missing. All others are read at once.
	First bool
	// OnRequest says how to ask for a section that is read on request only; ""
	// for one that is always read.
	OnRequest string
	Flag      string // the flag that names its file; "" where calls read it
	Read      func(ctx context.Context, c *Client) engine.Section
}

// set is what collectors register with: one method each, in their own file.
type set struct{}

// All returns every collector in order.
func All() []Collector {
	all := engine.Plugins[Collector](set{})
	slices.SortStableFunc(all, func(a, b Collector) int { return cmp.Compare(a.Order, b.Order) })
	return all
}

// unasked is the coverage of a section that is read on request only and that
// nobody asked for.
func (o Options) unasked(c Collector) (coverage engine.Coverage, unasked bool) {
	byQuery := o.Usage != nil && (c.Section == engine.SectionAuditLog || c.Section == engine.SectionAuditChanges)
	if c.OnRequest == "" || byQuery || slices.Contains(o.Sections, c.Section) {
		return engine.Coverage{}, false
	}
	return engine.NotRequested(c.OnRequest), true
}

// failed is the section that a problem leaves.
func failed(p *Problem) engine.Section { return engine.Section{Coverage: p.Coverage()} }
