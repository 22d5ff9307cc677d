package rigs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patrol/engine"
)

// disk is a model of a file system below one directory. It takes in system
// calls as they were made, and makes images of what a loss of power may leave:
// what was synced is there, and of everything else any part.
//
//   - Of a file, changes since it was synced are there, or not, in any order,
//     down to sectors of 512 bytes. A part that is not there may still count
//     for the size, and reads as zeros.
//   - Of a directory, names that were given or taken since it was synced are
//     there, or not, in any order. A rename happens whole or not at all.
//
// That is weaker than what file systems of today promise.
type disk struct {
	root    string // the directory as its users name it
	top     *folder
	open    map[int64]*handle
	syncing map[*call][]*change
	deaf    bool // syncs have no effect
	whole   map[string][][]byte
}

// handle is an open file or directory.
type handle struct {
	file   *file
	folder *folder
	path   string
	offset int64
}

// node is a *file or a *folder.
type node any

// file is what is surely on the disk, and what happened to it since.
type file struct {
	base    []byte
	changes []*change
}

// folder is the same for names.
type folder struct {
	base    map[string]node
	changes []*change
}

// change is one change of a file (data at an offset, or its size), or of a
// directory (a name taken, a name given, or both).
type change struct {
	offset, size int64
	data         []byte

	taken, given string
	to           node

	done bool // the call has returned
	safe bool // and was synced
}

// newDisk takes in a directory as it is, all of it safe.
func newDisk(root string) (*disk, error) {
	top, err := readFolder(root)
	return &disk{root: root, top: top, open: map[int64]*handle{}, syncing: map[*call][]*change{}, whole: map[string][][]byte{}}, err
}

func readFolder(dir string) (*folder, error) {
	f := &folder{base: map[string]node{}}
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if entry.IsDir() {
			below, err := readFolder(path)
			if err != nil {
				return nil, err
			}
			f.base[entry.Name()] = below
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f.base[entry.Name()] = &file{base: content}
	}
	return f, err
}

// names are those in use now, whether or not they are safe.
func (f *folder) names() map[string]node { return namesAfter(f.base, f.changes) }

func namesAfter(base map[string]node, changes []*change) map[string]node {
	names := map[string]node{}
	for name, to := range base {
		names[name] = to
	}
	for _, c := range changes {
		delete(names, c.taken)
		if c.to != nil {
			names[c.given] = c.to
		}
	}
	return names
}

// content is that of now, whether or not it is safe.
func (f *file) content() []byte {
	content := bytes.Clone(f.base)
	for _, c := range f.changes {
		content = c.on(content)
	}
	return content
}

// on makes the change.
func (c *change) on(content []byte) []byte {
	end := c.size
	if c.data != nil {
		end = max(c.offset+int64(len(c.data)), int64(len(content)))
	}
	content = resized(content, end)
	copy(content[min(c.offset, end):], c.data)
	return content
}

func resized(content []byte, size int64) []byte {
	if size <= int64(len(content)) {
		return content[:size]
	}
	return append(content, make([]byte, size-int64(len(content)))...)
}

// find is what a path names now: the directory that it is in, its last part,
// and what is there; nil for a path that is not below the root.
func (d *disk) find(path string) (in *folder, name string, there node) {
	below, err := filepath.Rel(d.root, path)
	if err != nil || strings.HasPrefix(below, "..") {
		return nil, "", nil
	}
	if below == "." {
		return nil, "", d.top
	}
	parts := strings.Split(below, string(filepath.Separator))
	in = d.top
	for _, part := range parts[:len(parts)-1] {
		next, ok := in.names()[part].(*folder)
		if !ok {
			return nil, "", nil
		}
		in = next
	}
	name = parts[len(parts)-1]
	return in, name, in.names()[name]
}

// full is the path that a call names, relative to an open directory or to the root.
func (d *disk) full(at, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	if dir := d.handle(at); dir != nil {
		return filepath.Join(dir.path, path)
	}
	return filepath.Join(d.root, path)
}

func (d *disk) handle(number string) *handle { return d.open[parseInt(number)] }

// play takes in one tick of a recording: a call that begins or ends. It
// reports whether the disk may look different after it.
func (d *disk) play(m tick) (changed bool, err error) {
	c := m.call
	if c.failed || c.result == unknownResult {
		return false, nil
	}
	if m.ended {
		return d.finish(c)
	}
	switch c.name {
	case "close":
		delete(d.open, parseInt(c.args[0]))
	case "write", "pwrite64":
		return d.write(c), nil
	case "ftruncate":
		return d.changeFile(c, &change{size: parseInt(c.args[1])}), nil
	case "fsync", "fdatasync":
		return d.beginSync(c), nil
	case "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat":
		return d.rename(c)
	}
	return false, d.refuse(c)
}

// finish takes in the end of a call.
func (d *disk) finish(c *call) (changed bool, err error) {
	switch c.name {
	case "open":
		return d.opened(c, "AT_FDCWD", c.args[0], c.args[1]), nil
	case "openat":
		return d.opened(c, c.args[0], c.args[1], c.args[2]), nil
	case "lseek":
		if h := d.handle(c.args[0]); h != nil {
			h.offset = c.result
		}
	case "fsync", "fdatasync":
		return d.endSync(c), nil
	}
	for _, made := range d.syncing[c] {
		made.done = true
	}
	delete(d.syncing, c)
	return false, nil
}

// refuse stops at what could change a file and is not known to this model.
func (d *disk) refuse(c *call) error {
	switch c.name {
	case "open", "openat", "lseek":
		return nil
	case "mmap":
		h := d.handle(c.args[4])
		if h == nil || !strings.Contains(c.args[2], "PROT_WRITE") || !strings.Contains(c.args[3], "MAP_SHARED") || strings.HasSuffix(h.path, "-shm") {
			return nil
		}
	case "fcntl":
		if !strings.HasPrefix(c.args[1], "F_DUPFD") || d.handle(c.args[0]) == nil {
			return nil
		}
	default:
		if !slices.ContainsFunc(c.args, d.concerns) {
			return nil
		}
	}
	return fmt.Errorf("the model of the disk does not know %s(%.200q)", c.name, c.args)
}

// concerns reports whether an argument is a file of this disk, open or by name.
func (d *disk) concerns(arg string) bool {
	return d.handle(arg) != nil || strings.HasPrefix(arg, d.root+"/")
}

func (d *disk) opened(c *call, at, name, flags string) (changed bool) {
	delete(d.open, c.result)
	path := d.full(at, name)
	in, name, there := d.find(path)
	if there == nil && (in == nil || !strings.Contains(flags, "O_CREAT")) {
		return false
	}
	if there == nil {
		there = &file{}
		in.changes = append(in.changes, &change{given: name, to: there, done: true})
		changed = true
	}
	h := &handle{path: path}
	h.file, _ = there.(*file)
	h.folder, _ = there.(*folder)
	if h.file != nil && strings.Contains(flags, "O_TRUNC") {
		h.file.changes = append(h.file.changes, &change{done: true})
		changed = true
	}
	d.open[c.result] = h
	return changed
}

func (d *disk) write(c *call) bool {
	h := d.handle(c.args[0])
	if h == nil {
		return false
	}
	at := h.offset
	if c.name == "pwrite64" {
		at = parseInt(c.args[3])
	} else {
		h.offset += c.result
	}
	return d.changeFile(c, &change{offset: at, data: []byte(c.args[1])[:c.result]})
}

func (d *disk) changeFile(c *call, made *change) bool {
	h := d.handle(c.args[0])
	if h == nil || h.file == nil {
		return false
	}
	h.file.changes = append(h.file.changes, made)
	d.syncing[c] = []*change{made}
	return true
}

// rename takes in every call that gives or takes names.
func (d *disk) rename(c *call) (bool, error) {
	paths := d.pathsOf(c)
	in, name, there := d.find(paths[0])
	if in == nil {
		return false, nil
	}
	made := &change{}
	switch {
	case strings.HasPrefix(c.name, "unlink"):
		made.taken = name
	case strings.HasPrefix(c.name, "mkdir"):
		made.given, made.to = name, &folder{base: map[string]node{}}
	default:
		to, given, _ := d.find(paths[1])
		if to != in {
			return false, fmt.Errorf("the model of the disk does not know %s from one directory to another", c.name)
		}
		made.given, made.to = given, there
		if strings.HasPrefix(c.name, "rename") {
			made.taken = name
		}
		if moved, ok := there.(*file); ok {
			d.whole[paths[1]] = append(d.whole[paths[1]], moved.content())
		}
	}
	in.changes = append(in.changes, made)
	d.syncing[c] = []*change{made}
	return true, nil
}

func (d *disk) pathsOf(c *call) []string {
	const here = "AT_FDCWD"
	switch c.name {
	case "unlink", "mkdir":
		return []string{d.full(here, c.args[0])}
	case "unlinkat", "mkdirat":
		return []string{d.full(c.args[0], c.args[1])}
	case "rename", "link":
		return []string{d.full(here, c.args[0]), d.full(here, c.args[1])}
	}
	return []string{d.full(c.args[0], c.args[1]), d.full(c.args[2], c.args[3])}
}

func (d *disk) changesOf(c *call) *[]*change {
	switch h := d.handle(c.args[0]); {
	case h == nil:
		return nil
	case h.file != nil:
		return &h.file.changes
	default:
		return &h.folder.changes
	}
}

// beginSync notes what a sync covers: what had returned when it began.
func (d *disk) beginSync(c *call) bool {
	all := d.changesOf(c)
	if all == nil || d.deaf {
		return false
	}
	for _, made := range *all {
		if made.done {
			d.syncing[c] = append(d.syncing[c], made)
		}
	}
	return false
}

func (d *disk) endSync(c *call) bool {
	for _, made := range d.syncing[c] {
		made.safe = true
	}
	delete(d.syncing, c)
	if h := d.handle(c.args[0]); h != nil {
		h.settle()
	}
	return true
}

// settle makes the oldest changes part of what is surely there.
func (h *handle) settle() {
	if h.file != nil {
		for len(h.file.changes) > 0 && h.file.changes[0].safe {
			h.file.base = h.file.changes[0].on(h.file.base)
			h.file.changes = h.file.changes[1:]
		}
		return
	}
	n := 0
	for n < len(h.folder.changes) && h.folder.changes[n].safe {
		n++
	}
	h.folder.base = namesAfter(h.folder.base, h.folder.changes[:n])
	h.folder.changes = h.folder.changes[n:]
}

// image writes into an empty directory what a loss of power may leave now.
func (d *disk) image(dir string, random *rand.Rand) error {
	i := imaging{random: random, files: map[*file][]byte{}}
	return i.folder(dir, d.top)
}

// imaging makes the choices for one image. A file has one content under all its names.
type imaging struct {
	random *rand.Rand
	files  map[*file][]byte
}

func (i *imaging) folder(dir string, f *folder) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	names := namesAfter(f.base, i.choose(f.changes))
	for _, name := range engine.SortedKeys(names) {
		path := filepath.Join(dir, name)
		var err error
		switch to := names[name].(type) {
		case *folder:
			err = i.folder(path, to)
		case *file:
			err = i.file(path, to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file writes one file. What maps memory that processes share is never
// synced, so that anything may be in it.
func (i *imaging) file(path string, f *file) error {
	content, known := i.files[f]
	if !known {
		content = bytes.Clone(f.base)
		for _, c := range i.choose(f.changes) {
			content = c.on(content)
		}
		i.files[f] = content
	}
	if strings.HasSuffix(path, "-shm") {
		if i.random.IntN(2) == 0 {
			return nil
		}
		content = bytes.Repeat([]byte{byte(i.random.Uint32())}, len(content))
	}
	return os.WriteFile(path, content, 0o600)
}

// choose picks what is there of the changes: those that are safe, and of the others
// none, all, the first few, any, or any sectors of any.
func (i *imaging) choose(changes []*change) (there []*change) {
	how, first := i.random.IntN(5), 0
	if len(changes) > 0 {
		first = i.random.IntN(len(changes) + 1)
	}
	for n, c := range changes {
		switch {
		case c.safe, how == 1, how == 2 && n < first, how == 3 && i.random.IntN(2) == 0:
			there = append(there, c)
		case how == 4 && c.data == nil && i.random.IntN(2) == 0:
			there = append(there, c)
		case how == 4 && c.data != nil:
			there = append(there, i.tear(c)...)
		}
	}
	return there
}

const sector = 512

// tear keeps any sectors of what was written; one that is lost may still have
// made the file longer.
func (i *imaging) tear(c *change) (there []*change) {
	for at := c.offset; at < c.offset+int64(len(c.data)); {
		end := min((at/sector+1)*sector, c.offset+int64(len(c.data)))
		part := &change{offset: at, data: c.data[at-c.offset : end-c.offset]}
		switch i.random.IntN(4) {
		case 0, 1:
			there = append(there, part)
		case 2:
			there = append(there, &change{offset: end, data: []byte{}}) // longer at least
		}
		at = end
	}
	return there
}
