// Package sqlite opens database files and is the only package that knows
// SQLite: how a file is opened, created whole, upgraded and copied, which
// settings each connection must have, what an error means, and how rows are
// read and written. Snapshots and evaluations (engine/store) and the journal of
// apply (engine/journal) build on it.
//
// Everything is created with mode 0600: a database appears whole under its
// name, and SQLite gives -wal and -shm the mode of the database. Sorting that
// does not fit into the page cache spills into files that SQLite creates with
// mode 0600 in the directory for temporary files and unlinks at once; memory
// stays constant, which is why temp_store is left at FILE.
package sqlite
