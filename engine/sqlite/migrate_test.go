package sqlite

import (
	"testing"
	"testing/fstest"
)

func TestMigrationsAreNumbered(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Fatal("a gap passes")
		}
	}()
	MustLoad(fstest.MapFS{"migrations/0002_b.sql": {}}, "migrations", 1)
}
