package workbook

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/klauspost/compress/flate"
)

// compression takes 60 % of the time of the usual level, and makes a workbook a
// fifth larger.
const compression = 4

// archive collects the parts of a workbook, compressed, in a spill file and writes
// the ZIP file from there, sorted by name. It stands in for the ZIP writer of
// excelize, which adds worksheets in random order and keeps the file in memory.
type archive struct {
	spill *os.File
	size  int64 // of the spill file
	ended func() error
	parts []*part
	open  *part
	flate *flate.Writer // one for all parts: it holds more than half a megabyte
}

// part is a file of the archive. One that is ours is not replaced by what excelize
// has for the same name.
type part struct {
	*archive
	header zip.FileHeader
	start  int64 // in the spill file
	ours   bool
	wanted bool          // excelize lists it among the workbook's parts
	sorted *bytes.Buffer // collects what has to be put in order first
}

// contentTypes is the part that lists what kinds of parts there are. Excelize
// adds those of pictures in random order.
const contentTypes = "[Content_Types].xml"

// defaults are the elements of that list whose order means nothing.
var defaults = regexp.MustCompile(`(<Default [^>]*></Default>)+`)

// inOrder sorts the elements that a run of defaults holds.
func inOrder(list []byte) []byte {
	return defaults.ReplaceAllFunc(list, func(run []byte) []byte {
		const end = "</Default>"
		elements := strings.SplitAfter(strings.TrimSuffix(string(run), end), end)
		elements[len(elements)-1] += end
		slices.Sort(elements)
		return []byte(strings.Join(elements, ""))
	})
}

// Create starts a part for excelize and ends the one before. A worksheet that was
// written already stays, and the empty one in its place is dropped.
func (a *archive) Create(name string) (io.Writer, error) {
	if i := slices.IndexFunc(a.parts, func(p *part) bool { return p.header.Name == name }); i >= 0 {
		a.parts[i].wanted = true
		return io.Discard, a.finish()
	}
	p, err := a.begin(name)
	if err != nil {
		return nil, err
	}
	if name == contentTypes {
		p.sorted = &bytes.Buffer{}
	}
	return p, nil
}

func (a *archive) begin(name string) (*part, error) {
	if err := a.finish(); err != nil {
		return nil, err
	}
	if a.flate == nil {
		var err error
		if a.flate, err = flate.NewWriter(nil, compression); err != nil {
			return nil, err
		}
	}
	a.flate.Reset((*spillWriter)(a))
	a.open = &part{archive: a, start: a.size, header: zip.FileHeader{Name: name, Method: zip.Deflate}}
	a.parts = append(a.parts, a.open)
	return a.open, nil
}

// Write adds to the part and stops when the context has ended.
func (p *part) Write(b []byte) (int, error) {
	if err := p.ended(); err != nil {
		return 0, err
	}
	if p.sorted != nil {
		return p.sorted.Write(b)
	}
	p.header.CRC32 = crc32.Update(p.header.CRC32, crc32.IEEETable, b)
	p.header.UncompressedSize64 += uint64(len(b))
	return p.flate.Write(b)
}

// AddFS is part of the interface and not used by excelize.
func (a *archive) AddFS(fs.FS) error { return errors.ErrUnsupported }

// Close ends the last part. It writes no archive: excelize closes after
// errors, too.
func (a *archive) Close() error { return a.finish() }

func (a *archive) finish() error {
	done := a.open
	if done == nil {
		return nil
	}
	a.open = nil
	if list := done.sorted; list != nil {
		done.sorted = nil
		if _, err := done.Write(inOrder(list.Bytes())); err != nil {
			return err
		}
	}
	if err := a.flate.Close(); err != nil {
		return err
	}
	done.header.CompressedSize64 = uint64(a.size - done.start)
	return nil
}

// spillWriter appends to the spill file.
type spillWriter archive

func (s *spillWriter) Write(b []byte) (int, error) {
	n, err := s.spill.Write(b)
	s.size += int64(n)
	return n, err
}

// writeTo writes the archive.
func (a *archive) writeTo(w io.Writer) error {
	slices.SortFunc(a.parts, func(x, y *part) int { return strings.Compare(x.header.Name, y.header.Name) })
	out := zip.NewWriter(w)
	for _, part := range a.parts {
		if part.ours && !part.wanted {
			return fmt.Errorf("workbook: %s is no part that excelize knows", part.header.Name)
		}
		to, err := out.CreateRaw(&part.header)
		if err != nil {
			return err
		}
		if _, err := io.Copy(to, io.NewSectionReader(a.spill, part.start, int64(part.header.CompressedSize64))); err != nil {
			return err
		}
		if err := a.ended(); err != nil {
			return err
		}
	}
	return out.Close()
}
