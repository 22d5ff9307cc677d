package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// access is how SQLite is told to open the file.
type access struct {
	mode      string // ro, rw
	queryOnly bool
	immutable bool
}

// accessFor chooses it. A reader that may write joins the write-ahead log as
// a full member, so that the last one out leaves no -wal and -shm behind; one
// that may not write opens the file read-only. Where -shm cannot be created and
// no log exists, nobody writes, and the file is read as immutable.
func accessFor(path string, mode Mode) access {
	if mode == ReadWrite {
		return access{mode: "rw"}
	}
	file, dir := openForWriting(path) == nil, writable(filepath.Dir(path))
	if file && dir {
		return access{mode: "rw", queryOnly: true}
	}
	_, err := os.Stat(path + "-wal")
	return access{mode: "ro", queryOnly: true, immutable: !dir && errors.Is(err, os.ErrNotExist)}
}

func openForWriting(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// cacheSize is 1 MB for each connection, of which an evaluation has up to five:
// tables are read from end to end or in the order of their keys, where four
// times as much saves no time and costs 20 MB.
const cacheSize = "cache_size(-1000)"

// connector opens connections and checks that their settings took effect:
// SQLite ignores a pragma that it does not know.
type connector struct {
	driver.Connector
	want []driver.Value // of settingsQuery
}

// newConnector spells the settings of connections in the name of the database, so
// that they hold on every connection of the pool.
func newConnector(path string, a access, t Tuning) (driver.Connector, error) {
	timeout := t.Timeout
	if timeout == 0 {
		timeout = 5 * time.Second
	}
	q := url.Values{}
	q.Set("mode", a.mode)
	q.Set("_busy_timeout", strconv.FormatInt(timeout.Milliseconds(), 10))
	q.Set("_foreign_keys", "on")
	q.Set("_synchronous", "FULL")
	q.Set("_txlock", "immediate")
	q.Set("_defensive", "1")
	q.Set("_dqs", "0")
	q["_pragma"] = append([]string{"trusted_schema(0)", "cell_size_check(1)", "secure_delete(1)", cacheSize}, t.Pragmas...)
	journal, queryOnly := "wal", int64(0)
	if a.queryOnly {
		q.Set("_query_only", "1")
		queryOnly = 1
	} else {
		q.Set("_journal_mode", "WAL")
	}
	if a.immutable {
		q.Set("immutable", "1")
		journal = "delete" // SQLite's word for a database without a log
	}
	file := filepath.ToSlash(path)
	if !strings.HasPrefix(file, "/") {
		file = "/" + file // a drive letter
	}
	file = (&url.URL{Path: file}).EscapedPath() // ?, # and % in names stay names
	inner, err := sqlite.NewConnector("file://" + file + "?" + q.Encode())
	if err != nil {
		return nil, err
	}
	return &connector{inner, []driver.Value{journal, int64(1), int64(2), int64(0), int64(1), queryOnly, timeout.Milliseconds()}}, nil
}

const settingsQuery = `SELECT j.journal_mode, f.foreign_keys, s.synchronous, t.trusted_schema, c.cell_size_check, q.query_only, b.timeout
	FROM pragma_journal_mode j, pragma_foreign_keys f, pragma_synchronous s, pragma_trusted_schema t,
	pragma_cell_size_check c, pragma_query_only q, pragma_busy_timeout b`

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	fresh := &conn{opened.(driverConn), map[string][]statement{}}
	if err := c.check(ctx, fresh); err != nil {
		return nil, errors.Join(err, fresh.Close())
	}
	return fresh, nil
}

func (c *connector) check(ctx context.Context, fresh *conn) error {
	rows, err := fresh.driverConn.QueryContext(ctx, settingsQuery, nil)
	if err != nil {
		return err
	}
	got := make([]driver.Value, len(c.want))
	if err := rows.Next(got); err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(err, rows.Close())
	}
	for i, want := range c.want {
		if got[i] != want {
			return errors.Join(fmt.Errorf("connection settings are %v, want %v", got, c.want), rows.Close())
		}
	}
	return rows.Close()
}

// conn is a connection that keeps its statements prepared: with hundreds of small
// workspaces SQLite would parse the same queries for most of the time. A statement
// in use is asked for again where two loops read by the same query, so that there
// may be several of one text. database/sql lets one goroutine at a time in.
type conn struct {
	driverConn

	idle map[string][]statement // by text
}

type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// keepsPrepared: one statement that reads or changes rows; what changes the schema
// or a setting runs once.
func keepsPrepared(query string) bool {
	word, _, _ := strings.Cut(strings.TrimSpace(query), " ")
	switch word {
	case "SELECT", "WITH", "INSERT", "UPDATE", "DELETE":
		return !strings.Contains(query, ";")
	}
	return false
}

func (c *conn) take(ctx context.Context, query string) (statement, error) {
	if list := c.idle[query]; len(list) > 0 {
		c.idle[query] = list[:len(list)-1]
		return list[len(list)-1], nil
	}
	prepared, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return prepared.(statement), nil
}

func (c *conn) keep(query string, s statement) { c.idle[query] = append(c.idle[query], s) }

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !keepsPrepared(query) {
		return c.driverConn.QueryContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	r, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &rows{r, c, query, s}, nil
}

// ExecContext implements driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !keepsPrepared(query) {
		return c.driverConn.ExecContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := s.ExecContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	c.keep(query, s)
	return result, nil
}

// Close implements driver.Conn.
func (c *conn) Close() error {
	var errs []error
	for _, list := range c.idle {
		for _, s := range list {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(append(errs, c.driverConn.Close())...)
}

// rows give their statement back.
type rows struct {
	driver.Rows

	of    *conn
	query string
	s     statement // nil: given back
}

// Close implements driver.Rows.
func (r *rows) Close() error {
	if r.s == nil {
		return nil
	}
	err := r.Rows.Close()
	if err != nil {
		err = errors.Join(err, r.s.Close())
	} else {
		r.of.keep(r.query, r.s)
	}
	r.s = nil
	return err
}
