package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
)

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
	s, ok := prepared.(statement)
	if !ok {
		return nil, errors.Join(errors.New("driver's statements take no context"), prepared.Close())
	}
	return s, nil
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
	s     statement
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
