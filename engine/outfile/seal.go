package outfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"

	"patrol/engine"

	"filippo.io/age"
)

// Ending is what the name of an encrypted file ends in.
const Ending = ".age"

// Files writes the files of a run: plain ones, or encrypted to recipients, so
// that the plain text never reaches the disk.
type Files struct {
	recipients []age.Recipient
	check      func() error // nil: nothing to ask
}

// OnlyIf asks check, which may take its time, before anything counts: a file is
// filled meanwhile, and gets its name only where check returns nil; of a stream,
// which cannot be taken back, nothing is written until then.
func (f Files) OnlyIf(check func() error) Files {
	f.check = check
	return f
}

// Ask is what OnlyIf made to be asked.
func (f Files) Ask() error {
	if f.check == nil {
		return nil
	}
	return f.check()
}

// EncryptTo encrypts to each of these age recipients (age1…); any one of their
// identities opens a file. Without keys files are plain.
func EncryptTo(keys ...string) (Files, error) {
	var f Files
	for _, key := range keys {
		recipient, err := parseRecipient(key)
		if err != nil {
			return Files{}, engine.UsageError("read flag", "--encrypt-to",
				"Give a recipient such as age-keygen prints it: age1 and 58 more characters, or age1pq1 and many.", err)
		}
		f.recipients = append(f.recipients, recipient)
	}
	return f, nil
}

// parseRecipient takes classical and post-quantum recipients. Its error does not
// repeat the text: somebody may have given the secret key by mistake.
func parseRecipient(key string) (age.Recipient, error) {
	if recipient, err := age.ParseX25519Recipient(key); err == nil {
		return recipient, nil
	}
	if recipient, err := age.ParseHybridRecipient(key); err == nil {
		return recipient, nil
	}
	return nil, errors.New("is no age recipient")
}

// Encrypted reports whether files are encrypted.
func (f Files) Encrypted() bool { return len(f.recipients) > 0 }

// Name is the name of the file that Write makes for a path.
func (f Files) Name(path string) string {
	if f.Encrypted() {
		return path + Ending
	}
	return path
}

// Write writes a file as the function Write does, to Name(path), encrypted where
// there are recipients.
func (f Files) Write(path string, fill func(io.Writer) error) error {
	return Write(f.Name(path), func(w io.Writer) error {
		if err := f.seal(w, fill); err != nil {
			return err
		}
		return f.Ask()
	})
}

// Fill fills w, encrypted where there are recipients.
func (f Files) Fill(w io.Writer, fill func(io.Writer) error) error {
	if f.check == nil {
		return f.seal(w, fill)
	}
	back := &held{to: w, ask: f.check}
	if err := f.seal(back, fill); err != nil {
		return err
	}
	return back.release()
}

// mostHeld bounds what is held back in memory.
const mostHeld = 1 << 20

// held keeps back what is written until it is known whether it counts. Once that
// is too much to keep, it waits for the answer.
type held struct {
	to       io.Writer
	ask      func() error
	kept     []byte
	released bool
}

func (h *held) Write(p []byte) (int, error) {
	if h.released {
		return h.to.Write(p)
	}
	if h.kept = append(h.kept, p...); len(h.kept) > mostHeld {
		if err := h.release(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (h *held) release() error {
	if h.released {
		return nil
	}
	if err := h.ask(); err != nil {
		return err
	}
	kept := h.kept
	h.released, h.kept = true, nil
	_, err := h.to.Write(kept)
	return err
}

func (f Files) seal(w io.Writer, fill func(io.Writer) error) error {
	if !f.Encrypted() {
		return fill(w)
	}
	sealed, err := age.Encrypt(w, slices.Clone(f.recipients)...)
	if err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	buffered := bufio.NewWriter(sealed)
	if err := fill(buffered); err != nil {
		return err // the file is given up: it must not end as a whole one does
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return sealed.Close()
}
