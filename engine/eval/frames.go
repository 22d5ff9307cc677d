package eval

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"patrol/engine"
)

// A sandbox speaks frames over its standard streams: four bytes of length, big
// endian, then JSON. JSON and not gob, because gob loses pointers to zero
// values, and that a fact is false is not that it is unknown.

// maxReply bounds what a sandbox may answer at once; what is longer comes from
// no sandbox that works. maxText bounds the message and the evidence of one
// result: 128 results of that length fit.
const (
	maxReply = 32 << 20
	maxText  = 64 << 10
	maxDepth = 16
)

// request is what a sandbox is told: first the packs, then the job, then what to judge.
type request struct {
	Packs    []wirePack
	Deadline time.Duration
	Job      *wireJob
	Judge    *wireJudge
	Task     *wireTask
	Waivers  *wireWaivers
	Waiver   *wireWaiver
}

// wirePack is a pack as text.
type wirePack struct {
	Name    string
	Trusted bool
	Files   map[string][]byte // as bytes, so that what is no UTF-8 arrives as it is
}

// wireJob is a Job without its functions.
type wireJob struct {
	Snapshot engine.Snapshot
	Previous *wireState
	AsOf     time.Time
	Tuning   map[string]Tuning
	Policies []string // ids
}

// wireState is an engine.State whose documents stay absent where they are: JSON
// text that is absent would arrive as null.
type wireState struct {
	Settings, Grants     []byte
	SettingsAt, GrantsAt time.Time
}

func newWireState(s *engine.State) *wireState {
	if s == nil {
		return nil
	}
	return &wireState{s.Settings.Document, s.Grants.Document, s.Settings.At, s.Grants.At}
}

func (w *wireState) state() *engine.State {
	if w == nil {
		return nil
	}
	return &engine.State{
		Settings: engine.Dated{Document: w.Settings, At: w.SettingsAt},
		Grants:   engine.Dated{Document: w.Grants, At: w.GrantsAt},
	}
}

// wired is a job for some policies, without its functions.
func (j Job) wired(policies []string) *wireJob {
	w := wireJob{Snapshot: j.Snapshot, Previous: newWireState(j.Previous), AsOf: j.AsOf, Tuning: map[string]Tuning{}, Policies: policies}
	for _, id := range policies {
		w.Tuning[id] = j.Tuning[id]
	}
	return &w
}

func (w *wireJob) job() Job {
	return Job{Snapshot: w.Snapshot, Previous: w.Previous.state(), AsOf: w.AsOf, Tuning: w.Tuning}
}

// wireJudge is what to judge by which policies: tokens, or the workspace with its secrets.
type wireJudge struct {
	Policies []string
	Tokens   []engine.Subject // by policies over tokens
}

// reply is what a sandbox says. One of its fields counts.
type reply struct {
	Ready  bool        `json:",omitempty"` // packs and job were read
	Failed string      `json:",omitempty"` // they were not
	Begun  string      `json:",omitempty"` // this policy, or test, is in hand now
	File   string      `json:",omitempty"` // of the test
	Line   int         `json:",omitempty"`
	Alive  bool        `json:",omitempty"` // another evaluation has begun since
	Done   *wireResult `json:",omitempty"` // this policy is done with what was to judge

	Task   *wireTaskDone   `json:",omitempty"` // the task is done
	Waiver *wireWaiverDone `json:",omitempty"` // the waiver is judged
}

// wireResult is what a policy made of what it was given to judge.
type wireResult struct {
	Policy              string
	Pass, NotApplicable int
	Findings            []wireOutcome
}

// wireOutcome is an outcome of the resource at Index.
type wireOutcome struct {
	Index    int
	Status   engine.Status
	Message  string
	Evidence map[string]any
}

func writeFrame(w io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	if len(text) > math.MaxInt32 {
		return errors.New("encode frame: too large")
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	return err
}

// readFrame reads a frame of limit bytes at most. Numbers stay exact.
func readFrame(r io.Reader, limit uint32, value any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > limit {
		return fmt.Errorf("read frame: %d bytes are more than %d", size, limit)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(value); err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	return nil
}

// bounded keeps results small enough to be handed on and to be kept: one that is not is
// an error, since a result cut short would say something else. What a policy says in all
// may grow with what it judges, by a page for each.
func (a *assignment) bounded(o outcome) outcome {
	a.allowance += 4 << 10
	text, err := json.Marshal(o.evidence)
	size := int64(len(o.message) + len(text))
	switch {
	case err != nil:
		return failure(fmt.Errorf("encode evidence: %w", err))
	case size > maxText:
		return failure(fmt.Errorf("the result is too long: message and evidence may have %d bytes", maxText))
	case depth(o.evidence) > maxDepth:
		return failure(fmt.Errorf("the result is too deep: evidence may have %d levels", maxDepth))
	case o.status == engine.Fail && a.said+size > a.allowance:
		return failure(errors.New("the policy says too much in all: messages and evidence may have 1 MiB, and 4 KiB for each resource"))
	}
	a.said += size
	return o
}

func depth(value any) int {
	deepest := 0
	switch v := value.(type) {
	case map[string]any:
		for _, element := range v {
			deepest = max(deepest, depth(element))
		}
	case []any:
		for _, element := range v {
			deepest = max(deepest, depth(element))
		}
	default:
		return 0
	}
	return deepest + 1
}

// outcome gives numbers the types that an evaluation in process gives.
func (w wireOutcome) outcome() outcome {
	evidence, _ := exactNumbers(w.Evidence).(map[string]any)
	return outcome{status: w.Status, message: w.Message, evidence: evidence}
}

func exactNumbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, element := range v {
			v[key] = exactNumbers(element)
		}
	case []any:
		for i, element := range v {
			v[i] = exactNumbers(element)
		}
	case json.Number:
		if number, err := normalNumber(v); err == nil {
			return number
		}
	}
	return value
}
