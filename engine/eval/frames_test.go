package eval

import (
	"bytes"
	"testing"
)

// FuzzReply: whatever a sandbox says is a reply or an error, and never more
// than was asked for.
func FuzzReply(f *testing.F) {
	for _, r := range []reply{{Ready: true}, {Begun: "PAT-001"}, {Done: &wireResult{Policy: "P", Pass: 3, Findings: []wireOutcome{{Index: 1, Status: "fail", Evidence: map[string]any{"n": 1.5}}}}}} {
		var b bytes.Buffer
		if err := writeFrame(&b, r); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, '{'})
	f.Add([]byte{0, 0, 0, 2, '{'})
	f.Fuzz(func(t *testing.T, text []byte) {
		var r reply
		if readFrame(bytes.NewReader(text), 1<<20, &r) != nil {
			return
		}
		if r.Done != nil {
			for _, o := range r.Done.Findings {
				_ = o.outcome()
			}
		}
		var b bytes.Buffer
		if err := writeFrame(&b, r); err != nil {
			t.Fatal(err)
		}
		var again reply
		if err := readFrame(&b, 8<<20, &again); err != nil {
			t.Fatalf("written again it cannot be read: %v", err)
		}
	})
}

func TestReadFrameRefusesWhatIsTooLong(t *testing.T) {
	var b bytes.Buffer
	if err := writeFrame(&b, reply{Failed: "too long for this"}); err != nil {
		t.Fatal(err)
	}
	if err := readFrame(&b, 10, &reply{}); err == nil {
		t.Error("it was read")
	}
}
