package reports

import (
	"archive/zip"
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/klauspost/compress/flate"
)

// sheetCompression takes a third of the time of the usual level, and makes a workbook
// an eighth larger.
const sheetCompression = 5

// partPacker stands in for the ZIP writer of excelize, which adds worksheets in
// random order and keeps the archive in memory. It compresses each part to a
// spill file and writes the archive from there, sorted by name.
type partPacker struct {
	spill *os.File
	size  int64 // of the spill file
	ended func() error
	parts []*part
	open  *part
}

type part struct {
	packer *partPacker
	header zip.FileHeader
	start  int64
	flate  *flate.Writer
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

// Create starts a part and ends the one before.
func (p *partPacker) Create(name string) (io.Writer, error) {
	if err := p.finish(); err != nil {
		return nil, err
	}
	next := &part{packer: p, start: p.size, header: zip.FileHeader{Name: name, Method: zip.Deflate}}
	var err error
	next.flate, err = flate.NewWriter((*spillWriter)(p), sheetCompression)
	if err != nil {
		return nil, err
	}
	if name == contentTypes {
		next.sorted = &bytes.Buffer{}
	}
	p.open = next
	p.parts = append(p.parts, next)
	return next, nil
}

// Write adds to the part and stops when the context has ended.
func (p *part) Write(b []byte) (int, error) {
	if err := p.packer.ended(); err != nil {
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
func (p *partPacker) AddFS(fs.FS) error { return errors.ErrUnsupported }

// Close ends the last part. It writes no archive: excelize closes after
// errors, too.
func (p *partPacker) Close() error { return p.finish() }

func (p *partPacker) finish() error {
	if p.open == nil {
		return nil
	}
	done := p.open
	p.open = nil
	if list := done.sorted; list != nil {
		done.sorted = nil
		if _, err := done.Write(inOrder(list.Bytes())); err != nil {
			return err
		}
	}
	if err := done.flate.Close(); err != nil {
		return err
	}
	done.flate = nil // it holds more than half a megabyte
	done.header.CompressedSize64 = uint64(p.size - done.start)
	return nil
}

// spillWriter appends to the spill file.
type spillWriter partPacker

func (s *spillWriter) Write(b []byte) (int, error) {
	n, err := s.spill.Write(b)
	s.size += int64(n)
	return n, err
}

// writeTo writes the archive.
func (p *partPacker) writeTo(w io.Writer) error {
	slices.SortFunc(p.parts, func(a, b *part) int { return strings.Compare(a.header.Name, b.header.Name) })
	archive := zip.NewWriter(w)
	for _, part := range p.parts {
		out, err := archive.CreateRaw(&part.header)
		if err != nil {
			return err
		}
		packed := io.NewSectionReader(p.spill, part.start, int64(part.header.CompressedSize64))
		if _, err := io.Copy(out, packed); err != nil {
			return err
		}
		if err := p.ended(); err != nil {
			return err
		}
	}
	return archive.Close()
}
