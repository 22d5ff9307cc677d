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
