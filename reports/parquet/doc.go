// Package parquet writes what an evaluation saw as Parquet files, so that
// history beyond one machine is queried where the other large tables are. It is
// apart from the report formats because it makes a directory of tables, one
// partition a day, to which each run adds its files, instead of one document.
package parquet
