package collectors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// Limits of answers, in bytes.
const (
	spoolMemory  = 8 << 20   // held in memory; a file takes more
	answerLimit  = 256 << 20 // of any answer but a token list
	tokensLimit  = 2 << 30
	errorsLimit  = 64 << 10 // of an error's body that is looked at
	copyBufBytes = 64 << 10
)

var errTooLarge = errors.New("answer too large")

// spool holds an answer: in memory while small, then in a private temporary
// file that has no name or that Close removes. Once filled it can be read at any place, by
// several readers at once.
type spool struct {
	dir    string
	limit  int64
	size   int64
	memory bytes.Buffer
	file   *os.File
	gone   bool  // it has no name any more
	broken error // why it could not be written
}

func newSpool(dir string, limit int64) *spool { return &spool{dir: dir, limit: limit} }

func (s *spool) Write(p []byte) (n int, err error) {
	defer func() { s.broken = errors.Join(s.broken, err) }()
	if s.size+int64(len(p)) > s.limit {
		return 0, errTooLarge
	}
	if s.file == nil && s.size+int64(len(p)) > spoolMemory {
		if s.file, err = os.CreateTemp(s.dir, "patrol-spool-*"); err != nil { // mode 0600
			return 0, fmt.Errorf("create spool: %w", err)
		}
		s.gone = os.Remove(s.file.Name()) == nil // where an open file can go on without a name, a kill leaves none
		if _, err := s.file.Write(s.memory.Bytes()); err != nil {
			return 0, fmt.Errorf("write spool: %w", err)
		}
		s.memory = bytes.Buffer{}
	}
	s.size += int64(len(p))
	if s.file != nil {
		return s.file.Write(p)
	}
	return s.memory.Write(p)
}

// ReadAt reads what was written. It must not run beside Write.
func (s *spool) ReadAt(p []byte, at int64) (int, error) {
	if s.file != nil {
		return s.file.ReadAt(p, at)
	}
	return bytes.NewReader(s.memory.Bytes()).ReadAt(p, at)
}

// Reader reads the whole content from its beginning.
func (s *spool) Reader() io.Reader { return io.NewSectionReader(s, 0, s.size) }

// Close removes the file, if there is one.
func (s *spool) Close() error {
	s.memory = bytes.Buffer{}
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file = nil
	if s.gone {
		return file.Close()
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}
