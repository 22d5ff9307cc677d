package store

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// TestTwoWritersKeepTheChain: of several that store snapshots of one workspace at
// once, each waits until it can name the one before, also where the workspace
// is only known by its name; a workspace beside has a chain of its own.
func TestTwoWritersKeepTheChain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	first, second, third := mustOpen(t, path, readWrite), mustOpen(t, path, readWrite), mustOpen(t, path, readWrite)
	returned := map[int64]engine.Snapshot{}
	var lock sync.Mutex
	save := func(db *DB, c engine.Capture) {
		s, err := db.SaveSnapshot(t.Context(), c)
		if err != nil {
			t.Error(err)
		}
		lock.Lock()
		defer lock.Unlock()
		returned[s.ID] = s
	}
	const rounds = 4
	for round := range rounds {
		at := now.AddDate(0, 0, round)
		var others sync.WaitGroup
		slow := capture("prod", "1", at, nil, nil)
		slow.Sections[engine.SectionTokens] = engine.Section{
			Coverage: engine.Coverage{Status: engine.Complete, Count: 1},
			Tokens: func(yield func(engine.Token, error) bool) {
				others.Go(func() { save(second, capture("prod", "1", at, population(2, 1, ""), nil)) })
				others.Go(func() { save(third, capture("prod", "", at, population(4, 1, ""), nil)) }) // does not tell its id
				others.Go(func() { save(second, capture("dev", "2", at, population(3, 1, ""), nil)) })
				time.Sleep(50 * time.Millisecond) // for all to have asked for what is there already
				yield(population(1, 1, "")[0], nil)
			},
		}
		save(first, slow)
		others.Wait()
	}
	last, n := map[int64]string{}, 0
	for c, err := range sqlite.Scan(t.Context(), first.SQL, `SELECT workspace_key, id, previous, digest FROM snapshot ORDER BY id`) {
		must(t, err)
		key, id, previous, digest := c.Int(), c.Int(), c.Text(), c.Text()
		must(t, c.Err)
		if previous != last[key] || returned[id].Previous != previous || returned[id].Digest != digest {
			t.Errorf("snapshot %d of workspace %d names %.12q, want %.12q; returned %.12q", id, key, previous, last[key], returned[id].Previous)
		}
		last[key] = digest
		n++
	}
	if n != 4*rounds || len(last) != 2 {
		t.Errorf("%d snapshots of %d workspaces, want %d of 2", n, len(last), 4*rounds)
	}
	must(t, first.VerifyChain(t.Context()))
}
