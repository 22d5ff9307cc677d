package sqlite

import (
	"testing"
	"testing/fstest"
)

func TestMigrationsAreNumbered(t *testing.T) {
	t.Parallel()
	_, err := LoadSchema(fstest.MapFS{"migrations/0002_b.sql": {}}, "migrations", 1)
	if err == nil {
		t.Fatal("a gap passes")
	}
}
