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

// way is how SQLite is told to open the file.
type way struct {
	mode      string // ro, rw
	queryOnly bool
	immutable bool
}

// access chooses the way. A reader that may write joins the write-ahead log as
// a full member, so that the last one out leaves no -wal and -shm behind; one
// that may not write opens the file read-only. Where -shm cannot be created and
// no log exists, nobody writes, and the file is read as immutable.
func access(path string, mode Mode) way {
	if mode == ReadWrite {
		return way{mode: "rw"}
	}
	file, dir := openForWriting(path) == nil, writable(filepath.Dir(path))
	if file && dir {
		return way{mode: "rw", queryOnly: true}
	}
	_, err := os.Stat(path + "-wal")
	return way{mode: "ro", queryOnly: true, immutable: !dir && errors.Is(err, os.ErrNotExist)}
}

func openForWriting(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

const lockTimeout = 5 * time.Second

// cacheSize is 1 MB for each connection, of which an evaluation has up to five:
// tables are read from end to end or in the order of their keys, where four
// times as much saves no time and costs 20 MB.
const cacheSize = "cache_size(-1000)"

// dsn spells the connection settings. They ride in the name so that they hold
// on every connection of the pool.
func (w way) dsn(path string, t Tuning) string {
	q := url.Values{}
	q.Set("mode", w.mode)
	q.Set("_busy_timeout", strconv.FormatInt(t.lockTimeout().Milliseconds(), 10))
	q.Set("_foreign_keys", "on")
	q.Set("_synchronous", "FULL")
	q.Set("_txlock", "immediate")
	q.Set("_defensive", "1")
	q.Set("_dqs", "0")
	q["_pragma"] = append([]string{"trusted_schema(0)", "cell_size_check(1)", "secure_delete(1)", cacheSize}, t.Pragmas...)
	if w.mode == "rw" && !w.queryOnly {
		q.Set("_journal_mode", "WAL")
	}
	if w.queryOnly {
		q.Set("_query_only", "1")
	}
	if w.immutable {
		q.Set("immutable", "1")
	}
	return fileURI(path) + "?" + q.Encode()
}

func (t Tuning) lockTimeout() time.Duration {
	if t.Timeout != 0 {
		return t.Timeout
	}
	return lockTimeout
}

// fileURI escapes an absolute path, so that ?, # and % in names stay names.
func fileURI(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // a drive letter
	}
	return "file://" + (&url.URL{Path: path}).EscapedPath()
}

// connector opens connections and checks that their settings took effect:
// SQLite ignores a pragma that it does not know.
type connector struct {
	driver.Connector
	want []driver.Value
}

func newConnector(path string, w way, t Tuning) (driver.Connector, error) {
	inner, err := sqlite.NewConnector(w.dsn(path, t))
	if err != nil {
		return nil, err
	}
	return &connector{inner, w.settings(t)}, nil
}

const settingsQuery = `SELECT j.journal_mode, f.foreign_keys, s.synchronous, t.trusted_schema, c.cell_size_check, q.query_only, b.timeout
	FROM pragma_journal_mode j, pragma_foreign_keys f, pragma_synchronous s, pragma_trusted_schema t,
	pragma_cell_size_check c, pragma_query_only q, pragma_busy_timeout b`

func (w way) settings(t Tuning) []driver.Value {
	journal, queryOnly := "wal", int64(0)
	if w.immutable {
		journal = "delete" // SQLite's word for a database without a log
	}
	if w.queryOnly {
		queryOnly = 1
	}
	return []driver.Value{journal, int64(1), int64(2), int64(0), int64(1), queryOnly, t.lockTimeout().Milliseconds()}
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.check(ctx, opened); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	inner, ok := opened.(driverConn)
	if !ok {
		return nil, errors.Join(errors.New("driver's connections take no context"), opened.Close())
	}
	return &conn{inner, map[string][]statement{}}, nil
}

func (c *connector) check(ctx context.Context, conn driver.Conn) error {
	got, err := firstRow(ctx, conn, settingsQuery, len(c.want))
	if err != nil {
		return err
	}
	for i, want := range c.want {
		if got[i] != want {
			return fmt.Errorf("connection settings are %v, want %v", got, c.want)
		}
	}
	return nil
}

func firstRow(ctx context.Context, conn driver.Conn, query string, columns int) ([]driver.Value, error) {
	queryer, ok := conn.(driver.QueryerContext)
	if !ok {
		return nil, errors.New("driver cannot query")
	}
	rows, err := queryer.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	values := make([]driver.Value, columns)
	if err := rows.Next(values); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, rows.Close())
	}
	return values, rows.Close()
}
