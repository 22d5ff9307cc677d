package plan

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"patrol/engine"
)

// ApprovalSchema is the version of approval files and statements.
const ApprovalSchema = 1

// Kind tells what a statement does.
type Kind string

// The kinds of statements.
const (
	Approve  Kind = "approve"
	Withdraw Kind = "withdraw" // ends what its author said before
)

// Verdict is what a reviewer decides about a step.
type Verdict string

// The verdicts. A reject stands until who gave it withdraws it or says
// something else of the step; a defer only does not approve.
const (
	Accept Verdict = "approve"
	Reject Verdict = "reject"
	Defer  Verdict = "defer"
)

// Decision is a verdict on one step.
type Decision struct {
	Step    string  `json:"step"`
	Verdict Verdict `json:"decision"`
	Reason  string  `json:"reason,omitempty"`
}

// Statement is what one person says about one plan. Its encoded bytes are what
// is signed and kept; they are never encoded again.
type Statement struct {
	Schema    int        `json:"schema"`
	Kind      Kind       `json:"kind"`
	PlanSHA   string     `json:"plan_sha256"`
	PlanID    string     `json:"plan_id"`
	All       bool       `json:"all"` // every step; then there are no decisions
	Decisions []Decision `json:"decisions"`
	Approver  string     `json:"approver"`
	Reason    string     `json:"reason"`
	At        string     `json:"at"`
	ExpiresAt string     `json:"expires_at"`
	Host      string     `json:"host"`
	User      string     `json:"user"` // of the machine on which the statement was made
}

// EncodeStatement renders the bytes that are signed.
func EncodeStatement(s Statement) []byte {
	s.Decisions = append([]Decision{}, s.Decisions...)
	slices.SortFunc(s.Decisions, func(a, b Decision) int { return cmp.Compare(a.Step, b.Step) })
	return indented(engine.CompactJSON(s))
}

// CheckStatement reads a statement and holds it against the plan that it is about: the
// error is of another plan, or of steps that the plan lacks.
func CheckStatement(payload []byte, content []byte, p engine.Plan) (Statement, error) {
	s, err := readStatement(payload)
	if err != nil {
		return s, err
	}
	if s.PlanSHA != Digest(content) || s.PlanID != p.ID {
		return s, refused("other_plan", "read approval", "Approve this plan: an approval counts for the very bytes that were approved.",
			fmt.Errorf("%s approved plan %s (sha256 %.12s), this is %s (sha256 %.12s)", s.Approver, s.PlanID, s.PlanSHA, p.ID, Digest(content)))
	}
	known := map[string]bool{}
	for _, step := range p.Steps {
		known[step.ID] = true
	}
	for _, d := range s.Decisions {
		if !known[d.Step] {
			return s, badApproval(fmt.Errorf("the plan has no step %q", d.Step))
		}
	}
	return s, nil
}

func readStatement(payload []byte) (s Statement, err error) {
	if err := decodeStrict(payload, &s); err != nil {
		return s, badApproval(fmt.Errorf("statement: %w", err))
	}
	_, notPerson := engine.Person(s.Approver)
	_, err1 := parseTime("at", s.At)
	_, err2 := parseTime("expires_at", s.ExpiresAt)
	switch {
	case !bytes.Equal(EncodeStatement(s), payload):
		err = errors.New("statement is not written as patrol writes it")
	case s.Schema != ApprovalSchema:
		err = fmt.Errorf("statement has version %d, this patrol reads %d", s.Schema, ApprovalSchema)
	case s.Kind != Approve && s.Kind != Withdraw:
		err = fmt.Errorf("statement is of unknown kind %q", s.Kind)
	case s.Approver == "":
		err = errors.New("statement names no approver")
	case strings.Contains(s.Approver, "@") && notPerson != nil:
		err = fmt.Errorf("approver %w", notPerson)
	case s.All == (len(s.Decisions) > 0):
		err = errors.New("statement is about all steps, or about named ones: not both, not none")
	default:
		err = cmp.Or(err1, err2)
	}
	for i, d := range s.Decisions {
		switch {
		case err != nil:
		case d.Verdict != Accept && d.Verdict != Reject && d.Verdict != Defer:
			err = fmt.Errorf("decision on step %s is %q", d.Step, d.Verdict)
		case i > 0 && s.Decisions[i-1].Step == d.Step:
			err = fmt.Errorf("step %s is decided twice", d.Step)
		}
	}
	if err != nil {
		return s, badApproval(err)
	}
	return s, nil
}

func badApproval(err error) error {
	return refused("bad_approval", "read approval", "Remove the approval file and approve the plan again.", err)
}

func (s Statement) expired(now time.Time) bool {
	expires, err := time.Parse(time.RFC3339, s.ExpiresAt)
	return err != nil || !now.Before(expires)
}

// own reports whether the statement approves one step and nothing else: the
// approval that a critical step may need.
func (s Statement) own() bool { return !s.All && len(s.Decisions) == 1 }

// Entry is a statement as kept in the approval file. The payload is verified
// before it is parsed; the key is a hint for people and decides nothing.
type Entry struct {
	Payload   []byte `json:"payload"` // base64 in the file
	Unsigned  bool   `json:"unsigned"`
	Signature string `json:"signature,omitempty"` // SSHSIG, armored
	Key       string `json:"key,omitempty"`
	Digest    string `json:"digest"` // sha256 over the rest: tells damage
}

// approvalFile is the content of plan.approval.json.
type approvalFile struct {
	Schema  int     `json:"schema"`
	Entries []Entry `json:"approvals"`
}

func (e Entry) digest() string {
	e.Digest = ""
	return engine.TextDigest(string(engine.CompactJSON(e)))
}

func encodeApprovals(entries []Entry) []byte {
	return indented(engine.CompactJSON(approvalFile{Schema: ApprovalSchema, Entries: entries}))
}

// Entries parses an approval file strictly.
func Entries(file []byte) ([]Entry, error) {
	if err := checkSchema(file, ApprovalSchema); err != nil {
		return nil, err
	}
	var f approvalFile
	if err := decodeStrict(file, &f); err != nil {
		return nil, badApproval(err)
	}
	if f.Schema != ApprovalSchema || !bytes.Equal(encodeApprovals(f.Entries), file) {
		return nil, badApproval(errors.New("the file is not written as patrol writes it"))
	}
	for i, e := range f.Entries {
		if e.digest() != e.Digest || e.Unsigned != (e.Signature == "") {
			return nil, refused("tampered", "read approval", "Remove the approval file and approve the plan again.", fmt.Errorf("approval %d was changed", i+1))
		}
	}
	return f.Entries, nil
}

// Append adds a statement to an approval file, nil for a new one. The signature
// is armored SSHSIG; "" leaves the statement unsigned.
func Append(file, payload []byte, signature string) ([]byte, error) {
	var entries []Entry
	if file != nil {
		var err error
		if entries, err = Entries(file); err != nil {
			return nil, err
		}
	}
	e := Entry{Payload: payload, Unsigned: signature == ""}
	if signature != "" {
		clean, key, err := normalSignature(signature)
		if err != nil {
			return nil, err
		}
		e.Signature, e.Key = clean, key
	}
	e.Digest = e.digest()
	return encodeApprovals(append(entries, e)), nil
}

// Foreign reports whether an approval file is intact and all about other plans
// than the one with this content, so that it can make room for a new one.
func Foreign(file, content []byte) bool {
	entries, err := Entries(file)
	if err != nil || len(entries) == 0 {
		return false
	}
	for _, e := range entries {
		s, err := readStatement(e.Payload)
		if err != nil || s.PlanSHA == Digest(content) {
			return false
		}
	}
	return true
}
