package outfile

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func say(w io.Writer) error {
	_, err := io.WriteString(w, "token of alice@example.com\n")
	return err
}

// TestHalfAFileIsNotThere: a file that was given up half-way is not there.
func TestHalfAFileIsNotThere(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	dir := t.TempDir()
	err := Files{}.Write(filepath.Join(dir, "x"), func(w io.Writer) error { return errors.Join(say(w), broken) })
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestOnlyIf writes what must not count.
func TestOnlyIf(t *testing.T) {
	t.Parallel()
	refused := errors.New("edited")
	files := Files{}.OnlyIf(func() error { return refused })
	path := filepath.Join(t.TempDir(), "report")
	if err := files.Write(path, say); !errors.Is(err, refused) {
		t.Errorf("Write: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	var stream bytes.Buffer
	if err := files.Fill(&stream, say); !errors.Is(err, refused) || stream.Len() > 0 {
		t.Errorf("Fill: %v, and %d bytes", err, stream.Len())
	}
	if err := (Files{}).OnlyIf(func() error { return nil }).Write(path, say); err != nil {
		t.Errorf("Write: %v", err)
	}
}

// TestFillHoldsBack: nothing of a stream is seen before it is known that it
// counts, and however much it is, no more than mostHeld waits in memory for that.
func TestFillHoldsBack(t *testing.T) {
	t.Parallel()
	line := bytes.Repeat([]byte("x"), 1000)
	for _, lines := range []int{0, 1, mostHeld/1000 + 5, 3 * mostHeld / 1000} {
		for _, answer := range []error{nil, errors.New("edited")} {
			var stream bytes.Buffer
			asked, written := 0, 0
			err := Files{}.OnlyIf(func() error {
				if asked++; stream.Len() > 0 || written > mostHeld {
					t.Errorf("asked with %d bytes made and %d seen", written, stream.Len())
				}
				return answer
			}).Fill(&stream, func(w io.Writer) error {
				for range lines {
					if _, err := w.Write(line); err != nil {
						return err
					}
					written += len(line)
				}
				return nil
			})
			want := 1000 * lines
			if answer != nil {
				want = 0
			}
			if !errors.Is(err, answer) || asked != 1 || stream.Len() != want {
				t.Errorf("%d lines, answer %v: %v, asked %d times, %d bytes", lines, answer, err, asked, stream.Len())
			}
		}
	}
}
