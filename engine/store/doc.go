// Package store keeps snapshots and evaluations in one SQLite file; engine/sqlite
// opens it.
//
// # Snapshots
//
// A snapshot never changes. Rows (tokens, principals) that are the same in
// consecutive snapshots of a workspace are stored once, as a version that holds
// from snapshot "since" up to but without snapshot "until"; a token's last use
// moves daily and has narrow rows of its own. A snapshot whose section was not
// read ends no version: nothing is known about what changed. Reading a section
// that is not usable yields no rows, because the coverage of that very snapshot
// is asked first.
//
// Raw rows and documents are stored in a canonical form: compact JSON, members
// of objects sorted by the bytes of their names, and the text of every number
// and string as it came, so that no digit and no byte is lost. What a token's
// raw row repeats of its columns is stored once; reading puts it together again.
//
// # Digests
//
// The digest of a snapshot is the SHA-256 over its header (identity, labels,
// time, digest of the workspace's snapshot before), its coverage and documents
// by section name, its principals by id and its tokens by id, each with its
// raw row and defects. [DB.VerifySnapshot] computes it again from the stored
// rows. The integrity check of SQLite notices few changes; the digest notices
// all of them.
package store
