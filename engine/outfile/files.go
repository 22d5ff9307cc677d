package outfile

import "io"

// Files writes the files of a run.
type Files struct {
	check func() error // nil: nothing to ask
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

// Write writes a file as the function Write does.
func (f Files) Write(path string, fill func(io.Writer) error) error {
	return Write(path, func(w io.Writer) error {
		if err := fill(w); err != nil {
			return err
		}
		return f.Ask()
	})
}

// Fill fills w.
func (f Files) Fill(w io.Writer, fill func(io.Writer) error) error {
	if f.check == nil {
		return fill(w)
	}
	back := &held{to: w, ask: f.check}
	if err := fill(back); err != nil {
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
