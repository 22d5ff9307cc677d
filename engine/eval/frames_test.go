package eval

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// TestFramesKeepNumbers: what policies find of ids beyond 2^53 has the digits
// and the types that judging in process gives.
func TestFramesKeepNumbers(t *testing.T) {
	want := map[string]any{
		"id": int64(9007199254740993), "days": int64(90), "share": 0.5, "large": 1e21,
		"list": []any{int64(-9007199254740993), map[string]any{"of": int64(9223372036854775807)}},
	}
	var b bytes.Buffer
	if err := writeFrame(&b, reply{Done: &wireResult{Policy: "P", Findings: []wireOutcome{{Status: "fail", Evidence: want}}}}); err != nil {
		t.Fatal(err)
	}
	var r reply
	if err := readFrame(&b, 1<<20, &r); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, r.Done.Findings[0].outcome().evidence); diff != "" {
		t.Error(diff)
	}
}
