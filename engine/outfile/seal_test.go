package outfile

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patrol/engine"

	"filippo.io/age"
)

const secret = "token of alice@example.com\n"

func say(w io.Writer) error {
	_, err := io.WriteString(w, strings.Repeat(secret, 10_000))
	return err
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func opened(t *testing.T, path string, id age.Identity) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte("alice")) {
		t.Error("the file is not encrypted")
	}
	r, err := age.Decrypt(bytes.NewReader(content), id)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryRecipientOpensTheFile(t *testing.T) {
	a, b := identity(t), identity(t)
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	files, err := EncryptTo(a.Recipient().String(), b.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "findings.csv")
	if err := files.Write(path, say); err != nil {
		t.Fatal(err)
	}
	for _, id := range []age.Identity{a, b} {
		if got := opened(t, path+Ending, id); got != strings.Repeat(secret, 10_000) {
			t.Errorf("got %d bytes", len(got))
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the plain file is there: %v", err)
	}
	if files, err = EncryptTo(hybrid.Recipient().String()); err != nil {
		t.Fatal(err)
	}
	if err := files.Write(path, say); err != nil {
		t.Fatal(err)
	}
	opened(t, path+Ending, hybrid)
}

// A file that was given up half-way is not there; what went to a pipe does not
// decrypt as if it were whole.
func TestHalfAFileDoesNotOpen(t *testing.T) {
	id := identity(t)
	files, err := EncryptTo(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	half := func(w io.Writer) error { return errors.Join(say(w), broken) }
	dir := t.TempDir()
	if err := files.Write(filepath.Join(dir, "x"), half); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	var pipe bytes.Buffer
	if err := files.Fill(&pipe, half); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if r, err := age.Decrypt(&pipe, id); err == nil {
		if _, err := io.ReadAll(r); err == nil {
			t.Error("half a file decrypts as a whole one")
		}
	}
}

func TestRecipientsAreChecked(t *testing.T) {
	id := identity(t)
	for _, key := range []string{"", "age1", "alice@example.com", id.String()} {
		_, err := EncryptTo(key)
		if told, ok := engine.AsError(err); !ok || told.Reason != "usage" || told.Hint == "" {
			t.Errorf("%q: got %v", key, err)
		}
		if err != nil && strings.Contains(err.Error(), id.String()) {
			t.Error("the error tells the secret key")
		}
	}
}

func TestPlainFilesStayPlain(t *testing.T) {
	files, err := EncryptTo()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x")
	if err := files.Write(path, say); err != nil || files.Name(path) != path {
		t.Errorf("got %v, %s", err, files.Name(path))
	}
	if content, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(content), secret) {
		t.Errorf("got %d bytes, %v", len(content), err)
	}
}

// TestOnlyIf writes what must not count.
func TestOnlyIf(t *testing.T) {
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
