package workbook

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
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

// archive collects the parts of a workbook, compressed, in a ZIP file of its own and
// copies them from there, sorted by name. It stands in for the ZIP writer of
// excelize, which adds worksheets in random order and keeps the file in memory.
type archive struct {
	spill *os.File
	zip   *zip.Writer
	ended func() error
	ours  map[string]bool // worksheets that are ours; true: excelize lists it among the workbook's parts
	types *bytes.Buffer   // the part contentTypes, which has to be put in order first
}

func newArchive(spill *os.File, ended func() error) archive {
	a := archive{spill: spill, zip: zip.NewWriter(spill), ended: ended, ours: map[string]bool{}, types: &bytes.Buffer{}}
	var one *flate.Writer // for all parts, which follow one another: it holds more than half a megabyte
	a.zip.RegisterCompressor(zip.Deflate, func(w io.Writer) (_ io.WriteCloser, err error) {
		if one == nil {
			one, err = flate.NewWriter(w, compression)
		} else {
			one.Reset(w)
		}
		return one, err
	})
	return a
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
	if _, ours := a.ours[name]; ours {
		a.ours[name] = true
		return io.Discard, nil
	}
	if name == contentTypes {
		return a.types, nil
	}
	return a.begin(name)
}

// worksheet starts a worksheet of ours.
func (a *archive) worksheet(name string) (io.Writer, error) {
	a.ours[name] = false
	return a.begin(name)
}

func (a *archive) begin(name string) (io.Writer, error) {
	w, err := a.zip.Create(name)
	return part{w, a.ended}, err
}

// part stops when the context has ended.
type part struct {
	io.Writer
	ended func() error
}

func (p part) Write(b []byte) (int, error) {
	if err := p.ended(); err != nil {
		return 0, err
	}
	return p.Writer.Write(b)
}

// AddFS is part of the interface and not used by excelize.
func (a *archive) AddFS(fs.FS) error { return errors.ErrUnsupported }

// Close does nothing: excelize closes after errors, too.
func (a *archive) Close() error { return nil }

// writeTo ends the last part and writes the archive.
func (a *archive) writeTo(w io.Writer) error {
	for name, wanted := range a.ours {
		if !wanted {
			return fmt.Errorf("workbook: %s is no part that excelize knows", name)
		}
	}
	types, err := a.begin(contentTypes)
	if err == nil {
		_, err = types.Write(inOrder(a.types.Bytes()))
	}
	if err = errors.Join(err, a.zip.Close()); err != nil {
		return err
	}
	size, err := a.spill.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	written, err := zip.NewReader(a.spill, size)
	if err != nil {
		return err
	}
	slices.SortFunc(written.File, func(x, y *zip.File) int { return strings.Compare(x.Name, y.Name) })
	out := zip.NewWriter(w)
	for _, file := range written.File {
		if err := errors.Join(a.ended(), out.Copy(file)); err != nil {
			return err
		}
	}
	return out.Close()
}
