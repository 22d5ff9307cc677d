package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// current is the row of a version that holds now.
type current[R any] struct {
	row          R
	version, key int64
	lastUsed     *int64 // tokens only
}

// merge walks over the rows that came and those that hold, both ascending by
// id: what came is kept, changed or new, what did not come has gone.
type merge[R interface{ id() string }] struct {
	next func() (current[R], error, bool)
	stop func()
	at   current[R]
	ok   bool
	gone func(version int64) error
}

func startMerge[R interface{ id() string }](rows iter.Seq2[current[R], error], gone func(int64) error) (*merge[R], error) {
	m := &merge[R]{gone: gone}
	m.next, m.stop = iter.Pull2(rows)
	return m, m.advance()
}

func (m *merge[R]) advance() (err error) {
	m.at, err, m.ok = m.next()
	return err
}

// find returns the row that holds for an id. Rows with smaller ids have gone.
func (m *merge[R]) find(id string) (held current[R], ok bool, err error) {
	for m.ok && m.at.row.id() < id {
		if err := m.skip(); err != nil {
			return held, false, err
		}
	}
	if !m.ok || m.at.row.id() != id {
		return held, false, nil
	}
	held = m.at
	return held, true, m.advance()
}

func (m *merge[R]) skip() error {
	if err := m.gone(m.at.version); err != nil {
		return err
	}
	return m.advance()
}

// finish declares the rest gone.
func (m *merge[R]) finish() error {
	for m.ok {
		if err := m.skip(); err != nil {
			return err
		}
	}
	return nil
}

// ascending refuses ids that do not ascend strictly.
type ascending struct {
	what, last string
	begun      bool
}

func (a *ascending) check(id string) error {
	if a.begun && id <= a.last {
		return badCapture(fmt.Sprintf("%s %q", a.what, id), fmt.Errorf("does not come after %q", a.last))
	}
	a.last, a.begun = id, true
	return nil
}

// principals stores the rows of the principals section.
func (s *saver) principals() error {
	section := s.capture.Sections[engine.SectionPrincipals]
	if !section.Coverage.Usable() {
		return nil
	}
	w, err := newPrincipalWriter(s)
	if err != nil {
		return err
	}
	defer w.merge.stop()
	for _, p := range section.Principals {
		if err := errors.Join(s.ctx.Err(), w.write(p)); err != nil {
			return err
		}
	}
	return w.finish()
}

// newVersions is what the writers of both kinds need: the first free version
// number, what ends a version, and a batch for new ones.
func newVersions(s *saver, table, columns string, width int) (next int64, end func(version int64) error, insert *sqlite.Batch, err error) {
	if err = s.tx.QueryRowContext(s.ctx, "SELECT coalesce(max(version), 0) + 1 FROM "+table).Scan(&next); err != nil {
		return 0, nil, nil, err
	}
	end = func(version int64) error {
		_, err := s.tx.ExecContext(context.Background(), "UPDATE "+table+" SET until = ? WHERE version = ?", s.snapshot.ID, version)
		return err
	}
	return next, end, sqlite.NewBatch(s.tx, "INSERT INTO "+table+" ("+columns+")", width), nil
}

type principalWriter struct {
	s      *saver
	order  ascending
	merge  *merge[principalRow]
	next   int64
	insert *sqlite.Batch
}

func newPrincipalWriter(s *saver) (*principalWriter, error) {
	next, end, insert, err := newVersions(s, "principal_version", "version, workspace_key, since, "+principalColumns, principalWidth+3)
	if err != nil {
		return nil, err
	}
	w := &principalWriter{s: s, next: next, insert: insert, order: ascending{what: "principal"}}
	w.merge, err = startMerge(s.heldPrincipals(), end)
	return w, err
}

func (w *principalWriter) write(p engine.Principal) (err error) {
	if err := w.order.check(p.ID); err != nil {
		return err
	}
	if p.Raw, err = canonicalRaw(p.Raw, "principal "+p.ID); err != nil {
		return err
	}
	w.s.digest.principal(p)
	row := encodePrincipal(p)
	held, found, err := w.merge.find(p.ID)
	if err != nil || found && held.row == row {
		return err
	}
	if found {
		if err := w.merge.gone(held.version); err != nil {
			return err
		}
	}
	w.next++
	return w.insert.Add(append([]any{w.next - 1, w.s.workspace, w.s.snapshot.ID}, row[:]...)...)
}

func (w *principalWriter) finish() error {
	return errors.Join(w.merge.finish(), w.insert.Flush())
}

// heldPrincipals streams the versions that hold before this snapshot. It reads
// beside the transaction, so that rows written by it do not come back.
func (s *saver) heldPrincipals() iter.Seq2[current[principalRow], error] {
	query := `SELECT version, ` + principalColumns + ` FROM principal_version WHERE workspace_key = ? AND until IS NULL ORDER BY principal_id`
	return func(yield func(current[principalRow], error) bool) {
		for c, err := range sqlite.Scan(s.ctx, s.db.q, query, s.workspace) {
			var held current[principalRow]
			if err == nil {
				held.version = c.Int()
				c.Rest(held.row[:])
				err = c.Err
			}
			if !yield(held, err) {
				return
			}
		}
	}
}

// tokens stores the rows of the tokens section.
func (s *saver) tokens() error {
	section := s.capture.Sections[engine.SectionTokens]
	if !section.Coverage.Usable() || section.Tokens == nil {
		return nil
	}
	w, err := newTokenWriter(s)
	if err != nil {
		return err
	}
	defer w.merge.stop()
	for t, err := range ahead(shaped(section.Tokens)) {
		if err := errors.Join(s.ctx.Err(), err); err != nil {
			return err
		}
		if err := w.write(t.Token, t.shape); err != nil {
			return err
		}
		s.snapshot.Tokens++
	}
	return w.finish()
}

// shapedToken is a token with its raw row in canonical form, and that row's shape.
type shapedToken struct {
	engine.Token
	shape string
}

func shaped(tokens iter.Seq2[engine.Token, error]) iter.Seq2[shapedToken, error] {
	return func(yield func(shapedToken, error) bool) {
		for t, err := range tokens {
			row := shapedToken{Token: t}
			if err != nil {
				err = fmt.Errorf("read tokens: %w", err)
			} else if row.Raw, err = canonicalRaw(t.Raw, "token "+t.ID); err == nil {
				row.shape = shapeOf(&row.Token)
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

type tokenWriter struct {
	s      *saver
	order  ascending
	merge  *merge[tokenRow]
	next   int64
	insert *sqlite.Batch
	use    *sqlite.Batch
	shapes *shapes
	known  bool // the workspace had tokens before
}

// findQuery finds a token that was here before.
const findQuery = `SELECT v.token_key, (SELECT u.day * 86400000 + coalesce(u.ms, 0) FROM token_use u
	WHERE u.token_key = v.token_key ORDER BY u.since DESC LIMIT 1)
	FROM token_version v WHERE v.workspace_key = ? AND v.token_id = ? ORDER BY v.since DESC LIMIT 1`

func newTokenWriter(s *saver) (*tokenWriter, error) {
	next, end, insert, err := newVersions(s, "token_version", "version, token_key, workspace_key, since, "+tokenColumns, tokenWidth+4)
	if err != nil {
		return nil, err
	}
	w := &tokenWriter{s: s, next: next, insert: insert, use: sqlite.NewBatch(s.tx, "INSERT INTO token_use (token_key, since, day, ms)", 4), order: ascending{what: "token"}}
	if w.shapes, err = readShapes(s.ctx, s.tx); err != nil {
		return nil, err
	}
	if err := s.tx.QueryRowContext(s.ctx, "SELECT EXISTS (SELECT 1 FROM token_version WHERE workspace_key = ?)", s.workspace).Scan(&w.known); err != nil {
		return nil, err
	}
	w.merge, err = startMerge(s.heldTokens(), end)
	return w, err
}

func (w *tokenWriter) write(t engine.Token, shape string) error {
	if err := w.order.check(t.ID); err != nil {
		return err
	}
	w.s.digest.token(&t)
	key, own, err := w.shapes.refer(shape, w.addShape)
	if err != nil {
		return err
	}
	row := encodeToken(&t, key, own)
	held, found, err := w.merge.find(t.ID)
	if err == nil && (!found || !slices.Equal(held.row, row)) {
		held, err = w.replace(row, held, found)
	}
	if err != nil || equal(held.lastUsed, t.LastUsed) {
		return err
	}
	day, ms := lastUse(t.LastUsed)
	return w.use.Add(held.key, w.s.snapshot.ID, day, ms)
}

func (w *tokenWriter) addShape(text string) (int64, error) {
	result, err := w.s.exec(`INSERT INTO raw_shape (text) VALUES (?)`, text)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// replace ends the version that holds, if any, and adds one. It returns what is
// known of the token's key and last use.
func (w *tokenWriter) replace(row tokenRow, held current[tokenRow], found bool) (current[tokenRow], error) {
	version := w.next
	w.next++
	if found {
		if err := w.merge.gone(held.version); err != nil {
			return held, err
		}
	} else {
		var err error
		if held, err = w.recall(row.id(), version); err != nil {
			return held, err
		}
	}
	args := append(make([]any, 0, tokenWidth+4), version, held.key, w.s.workspace, w.s.snapshot.ID)
	return held, w.insert.Add(append(args, row[:]...)...)
}

// recall finds the key of a token that was gone and came back; a new one gets
// the number of its first version.
func (w *tokenWriter) recall(id string, version int64) (held current[tokenRow], err error) {
	held.key = version
	if !w.known {
		return held, nil
	}
	err = w.s.tx.QueryRowContext(context.Background(), findQuery, w.s.workspace, id).Scan(&held.key, &held.lastUsed)
	if errors.Is(err, sql.ErrNoRows) {
		return held, nil
	}
	return held, err
}

func (w *tokenWriter) finish() error {
	return errors.Join(w.merge.finish(), w.insert.Flush(), w.use.Flush())
}

// heldTokens streams the versions that hold; see heldPrincipals.
func (s *saver) heldTokens() iter.Seq2[current[tokenRow], error] {
	query := `SELECT v.version, v.token_key, ` + useColumn + `, ` + tokenColumns + `
		FROM token_version v WHERE v.workspace_key = ?2 AND v.until IS NULL ORDER BY v.token_id`
	return func(yield func(current[tokenRow], error) bool) {
		for c, err := range sqlite.Scan(s.ctx, s.db.q, query, s.snapshot.ID, s.workspace) {
			var held current[tokenRow]
			if err == nil {
				held.version, held.key, held.lastUsed = c.Int(), c.Int(), c.IntOrNull()
				held.row = make(tokenRow, tokenWidth)
				c.Rest(held.row)
				err = c.Err
			}
			if !yield(held, err) {
				return
			}
		}
	}
}

func canonicalRaw(raw []byte, target string) ([]byte, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	text, err := canonical(raw)
	if err != nil {
		return nil, badCapture(target, fmt.Errorf("raw row %w", err))
	}
	return []byte(text), nil
}

func equal(a, b *int64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
