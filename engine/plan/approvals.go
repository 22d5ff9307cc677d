package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"patrol/engine"
)

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
	var pretty bytes.Buffer
	_ = json.Indent(&pretty, engine.CompactJSON(approvalFile{Schema: ApprovalSchema, Entries: entries}), "", "  ")
	pretty.WriteByte('\n')
	return pretty.Bytes()
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
