package eval

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"testing/fstest"

	"patrol/engine"
)

// The bounds of a pack that did not come with patrol.
const (
	maxFile    = 1 << 20  // a Rego file or schema
	maxPack    = 16 << 20 // all of them
	maxFiles   = 2000
	maxEntries = 20_000 // of a directory, whatever they are
)

var errTooLarge = errors.New("larger than 1 MiB")

// OpenDirectory reads a directory of policies as a pack: regular files alone, within
// bounds, and nothing to which a link leads out of it. What is read is what is judged,
// whatever becomes of the files.
func OpenDirectory(dir string) (Pack, error) {
	pack := Pack{Name: dir}
	err := ownName(dir)
	if err == nil {
		pack.FS, err = readDirectory(dir)
	}
	if err != nil {
		return Pack{}, engine.UsageError("load policies from", dir, "Name a directory of .rego files, or a bundle ending in .tar.gz, with --policy.", err)
	}
	return pack, nil
}

// ownName refuses the name by which findings tell patrol's own policies.
func ownName(name string) error {
	if name == BuiltIn {
		return fmt.Errorf("%s is what patrol's own policies are called; write ./%s", BuiltIn, BuiltIn)
	}
	return nil
}

func readDirectory(dir string) (fs.FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files, entries, total := fstest.MapFS{}, 0, 0
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if entries++; entries > maxEntries {
			return fmt.Errorf("more than %d files and directories", maxEntries)
		}
		switch {
		case err != nil:
			return err
		case entry.IsDir() && hidden(name):
			return fs.SkipDir
		case entry.IsDir() || !ofPack(name):
			return nil
		case engine.SafeText(name) != name:
			return fmt.Errorf("%s: the name holds characters that are not seen", engine.SafeText(name))
		}
		text, err := readRegular(root, name, maxFile)
		if err != nil {
			return err
		}
		if total += len(text); total > maxPack || len(files) >= maxFiles {
			return fmt.Errorf("more than %d MiB or %d files", maxPack>>20, maxFiles)
		}
		files[name] = &fstest.MapFile{Data: text, Mode: 0o400}
		return nil
	})
	return files, err
}

// ofPack reports whether a file is part of a pack.
func ofPack(name string) bool {
	return !hidden(name) && (path.Ext(name) == ".rego" || path.Dir(name) == "schemas" && path.Ext(name) == ".json")
}

// readRegular reads a regular file. It does not wait for a pipe that nobody writes to.
func readRegular(root *os.Root, name string, limit int) ([]byte, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is no regular file")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	text, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err == nil && len(text) > limit {
		err = fmt.Errorf("larger than %d MiB", limit>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}
