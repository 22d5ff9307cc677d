package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// floors are what no engine on this database can go below, measured within this
// process: to read every token, and to write the findings that came of it,
// sorted, without looking at either. It returns both together.
func (b *bench) floors(ctx context.Context) (cost, error) {
	db, err := b.stored()
	if err != nil {
		return cost{}, err
	}
	defer func() { _ = db.Close() }()
	read, err := b.within(nothing, func() error { return drain(ctx, db, scan) })
	if err != nil {
		return cost{}, fmt.Errorf("scan: %w", err)
	}
	write, err := b.within(func() error { return b.remove("floor.db") }, func() error { return b.rewrite(ctx, db) })
	if err != nil {
		return cost{}, fmt.Errorf("write findings: %w", err)
	}
	read.print("floor: bare SQL scan")
	write.print("floor: writing the findings")
	return cost{wall: read.wall + write.wall, cpu: read.cpu + write.cpu}, nil
}

// stored opens what patrol collected, for reading.
func (b *bench) stored() (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+b.path("patrol.db")+"?mode=ro")
}

// scan reads all that policies see of the tokens of a snapshot, without looking at it.
const scan = `SELECT v.*, u.day, u.ms FROM token_version v LEFT JOIN token_use u ON u.token_key = v.token_key
	AND u.since = (SELECT max(w.since) FROM token_use w WHERE w.token_key = v.token_key) WHERE v.until IS NULL ORDER BY v.token_id`

// drain reads a query to its end.
func drain(ctx context.Context, db *sql.DB, query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

// rewrite copies the findings of the last evaluation into a database of their own.
func (b *bench) rewrite(ctx context.Context, db *sql.DB) error {
	var table string
	if err := db.QueryRowContext(ctx, `SELECT sql FROM sqlite_schema WHERE name = 'finding'`).Scan(&table); err != nil {
		return err
	}
	copied, err := sql.Open("sqlite", "file:"+b.path("floor.db")+"?_journal_mode=WAL&_synchronous=FULL")
	if err != nil {
		return err
	}
	defer func() { _ = copied.Close() }()
	copied.SetMaxOpenConns(1) // what is attached is attached to one
	for _, statement := range []string{
		table,
		"ATTACH '" + b.path("patrol.db") + "' AS judged",
		"INSERT INTO finding SELECT * FROM judged.finding WHERE evaluation_id = (SELECT max(id) FROM judged.evaluation)",
	} {
		if _, err := copied.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// loop judges the tokens by the six rules in plain Go, as somebody would who
// writes only that, and returns what it found.
func loop(ctx context.Context, db *sql.DB, at int64) (found map[string]bool, err error) {
	found = map[string]bool{}
	rows, err := db.QueryContext(ctx, `SELECT v.token_id, v.created_ms, v.expires_ms,
		(SELECT u.day * 86400000 + coalesce(u.ms, 0) FROM token_use u WHERE u.token_key = v.token_key ORDER BY u.since DESC LIMIT 1)
		FROM token_version v WHERE v.until IS NULL ORDER BY v.token_id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var t row
		if err := rows.Scan(&t.id, &t.created, &t.expires, &t.used); err != nil {
			return nil, err
		}
		for _, rule := range t.judge(at) {
			found[rule+" "+t.id] = true
		}
	}
	return found, rows.Err()
}

type row struct {
	id               string
	created, expires int64
	used             sql.NullInt64
}

const day = 24 * 60 * 60 * 1000

// judge names the rules that the token breaks.
func (t row) judge(at int64) (broken []string) {
	age, endless := (at-t.created)/day, t.expires == -1
	idle := age
	if t.used.Valid {
		idle = (at - t.used.Int64) / day
	}
	if !endless && t.expires <= at {
		return []string{"PAT-008"}
	}
	for _, rule := range []struct {
		id     string
		breaks bool
	}{
		{"PAT-001", endless},
		{"PAT-002", !endless && (t.expires-t.created-60_000+day-1)/day > 90},
		{"PAT-004", idle >= 90},
		{"PAT-005", !t.used.Valid && age > 14},
		{"PAT-009", age > 90},
	} {
		if rule.breaks {
			broken = append(broken, rule.id)
		}
	}
	return broken
}

// within measures work in this process, of which the peak says nothing.
func (b *bench) within(prepare, work func() error) (best cost, err error) {
	for i := range b.runs {
		if err := prepare(); err != nil {
			return best, err
		}
		before, begin := usedCPU(), time.Now()
		if err := work(); err != nil {
			return best, err
		}
		c := cost{wall: time.Since(begin), cpu: usedCPU() - before}
		if i == 0 || c.wall < best.wall {
			best = c
		}
	}
	return best, nil
}
