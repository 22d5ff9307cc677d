// Package engine holds patrol's words: tokens, principals, snapshots, coverage,
// policies, results, findings and reports. It imports the standard library
// only, so that every other package can depend on it and it depends on none.
//
// Data flows one way. Collectors bring a Capture of a workspace; the store
// keeps it as a Snapshot; evaluation turns each resource of a snapshot into one
// Result per policy; a Report is what a format writes. The packages for these
// steps never import each other: cmd/patrol joins them.
//
// Times are int64 milliseconds since the Unix epoch, in UTC; a day is
// 86,400,000 ms. Identifiers are strings, because the platform's pass 2^53.
// A value that is unknown is absent (a nil pointer, a name in Facts.Unknown),
// never zero: zero is a value that policies would judge.
package engine
