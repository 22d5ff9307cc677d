package plan

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/remedy"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// pieces hands out a plan as its file has it, or compact, as its id is derived
// from: one step after the other, because the text of 100,000 steps takes a hundred
// megabytes each time.
func pieces(p engine.Plan, compact bool, emit func(text []byte)) {
	render := func(value any, indent string) []byte {
		text := engine.CompactJSON(value)
		if compact {
			return text
		}
		var b bytes.Buffer
		_ = json.Indent(&b, engine.EscapeJSON(text), indent, "  ") // what CompactJSON gives always indents
		return b.Bytes()
	}
	head := p
	head.Steps, head.NotPlanned = p.Steps[:0], p.NotPlanned[:0]
	rest := render(head, "")
	list := func(key string, length int, item func(i int) any) {
		mark, begin, end := []byte(`"`+key+`":[`), "", ""
		if !compact {
			mark, begin, end = []byte("\n  \""+key+`": [`), "\n    ", "\n  "
		}
		for i := range length {
			if i == 0 {
				at := bytes.Index(rest, mark) + len(mark)
				emit(rest[:at])
				rest = rest[at:]
			} else {
				emit([]byte(","))
			}
			emit(append([]byte(begin), render(item(i), "    ")...))
		}
		if length > 0 {
			emit([]byte(end))
		}
	}
	list("steps", len(p.Steps), func(i int) any { return p.Steps[i] })
	list("not_planned", len(p.NotPlanned), func(i int) any { return p.NotPlanned[i] })
	emit(rest)
	if !compact {
		emit([]byte("\n"))
	}
}

// Encode renders a plan as its file. Every plan that Build makes can be read
// back by Read.
func Encode(p engine.Plan) []byte {
	var b bytes.Buffer
	pieces(p, false, func(text []byte) { b.Write(text) })
	return b.Bytes()
}

// indented lays compact JSON out as files hold it.
func indented(compact []byte) []byte {
	var b bytes.Buffer
	_ = json.Indent(&b, compact, "", "  ") // what CompactJSON gives always indents
	b.WriteByte('\n')
	return b.Bytes()
}

// Save writes a plan's file and returns the file's digest.
func Save(path string, p engine.Plan) (sha256sum string, err error) {
	sum := sha256.New()
	err = outfile.Write(path, func(w io.Writer) error {
		both := bufio.NewWriter(io.MultiWriter(w, sum))
		pieces(p, false, func(text []byte) { _, _ = both.Write(text) }) // Flush tells what failed
		return both.Flush()
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// Write writes a plan's bytes for their owner only: they are an inventory.
func Write(path string, content []byte) error {
	return outfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// Digest is what approvals are bound to: the SHA-256 of the file's bytes.
func Digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Read parses a plan file strictly: a plan that can be read in two ways is no
// basis for a change. All errors are of ClassRefused, with the reasons
// newer_plan, strict_json and bad_plan.
func Read(content []byte) (engine.Plan, error) {
	if err := checkSchema(content, engine.PlanSchema); err != nil {
		return engine.Plan{}, err
	}
	const hint = "A plan is never edited: make it anew with `patrol plan`."
	var p engine.Plan
	if err := decodeStrict(content, &p); err != nil {
		return p, refused("strict_json", "read plan", hint, err)
	}
	// What is written again in the same bytes has one meaning only: no key stands
	// twice or in another letter case, nothing follows the end.
	rest, same := content, true
	pieces(p, false, func(text []byte) {
		if same = same && bytes.HasPrefix(rest, text); same {
			rest = rest[len(text):]
		}
	})
	if !same || len(rest) > 0 {
		line := 1 + bytes.Count(content[:len(content)-len(rest)], []byte("\n"))
		return p, refused("strict_json", "read plan", hint,
			fmt.Errorf("the file is not written as patrol writes plans, from line %d on: order of keys, spaces, or numbers differ, or a key stands twice", line))
	}
	return p, badPlan(checkPlan(p))
}

func badPlan(err error) error {
	if err == nil {
		return nil
	}
	return refused("bad_plan", "read plan", "A plan is never edited: make it anew with `patrol plan`.", err)
}

// checkSchema compares the version before anything else is made of the content.
func checkSchema(content []byte, known int) error {
	schema := schemaOf(content)
	switch {
	case schema == nil: // what is wrong is the strict decoder's to tell
		return nil
	case *schema > known:
		return refused("newer_plan", "read plan", "Use the patrol that made it, or make it anew with this one.",
			fmt.Errorf("the file has version %d, this patrol reads %d", *schema, known))
	case *schema < known:
		return refused("bad_plan", "read plan", "Make it anew with `patrol plan`.", fmt.Errorf("the file has version %d, this patrol reads %d", *schema, known))
	}
	return nil
}

// schemaOf is the version that a file states; nil when it does not begin with one,
// as every file that patrol writes. No more is read: a plan may be very large.
func schemaOf(content []byte) *int {
	decoder := json.NewDecoder(bytes.NewReader(content))
	opening, _ := decoder.Token()
	key, _ := decoder.Token()
	var schema int
	if opening != json.Delim('{') || key != "schema" || decoder.Decode(&schema) != nil {
		return nil
	}
	return &schema
}

func refused(reason, op, hint string, err error) error {
	return &engine.Error{Class: engine.ClassRefused, Reason: reason, Op: op, Hint: hint, Err: err}
}

// checkPlan holds a plan against what every plan that Build makes is like.
func checkPlan(p engine.Plan) error {
	if p.Schema != engine.PlanSchema {
		return fmt.Errorf("schema is %d, want %d", p.Schema, engine.PlanSchema)
	}
	if planID(p) != p.ID {
		return errors.New("plan_id does not belong to the content")
	}
	asOf, err1 := parseTime("as_of", p.AsOf)
	notBefore, err2 := parseTime("not_before", p.NotBefore)
	expires, err3 := parseTime("expires_at", p.ExpiresAt)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if notBefore.Before(asOf) || expires.Before(notBefore) || expires.Sub(notBefore) > MaxValidity {
		return fmt.Errorf("as_of %s, not_before %s and expires_at %s do not follow each other within %s", p.AsOf, p.NotBefore, p.ExpiresAt, MaxValidity)
	}
	if p.OnUse != OnUseSkip && p.OnUse != OnUseProceed {
		return fmt.Errorf("on_use is %q", p.OnUse)
	}
	if l := p.Limits; l.MaxSteps < 0 || l.MaxPercent < 0 || l.MaxPerOwner < 0 || l.MaxRecentlyUsed < 0 || l.MaxEndangered < 0 || l.RecentlyUsedDays < 0 {
		return errors.New("a limit is negative")
	}
	workspaces, ids := map[string]engine.PlanWorkspace{}, map[string]bool{}
	for _, w := range p.Workspaces {
		if _, twice := workspaces[w.ID]; twice || w.ID == "" {
			return fmt.Errorf("workspace %q is there twice, or has no id", w.ID)
		}
		workspaces[w.ID] = w
	}
	for _, s := range p.Steps {
		w, known := workspaces[s.WorkspaceID]
		switch {
		case s.ID != StepID(s.Action, s.WorkspaceID, s.Target) || ids[s.ID]:
			return fmt.Errorf("step %q is there twice, or its id does not belong to it", s.ID)
		case !known:
			return fmt.Errorf("step %s is in workspace %q, which the plan does not name", s.ID, s.WorkspaceID)
		case remedy.Of(s.Action).Name == "" || riskRank(s) < 0:
			return fmt.Errorf("step %s has action %q and risk %q", s.ID, s.Action, s.Risk.Level)
		case remedy.Changes(s) && (s.Precondition.Digest == "" || s.Target == ""):
			return fmt.Errorf("step %s has no precondition or no target", s.ID)
		case s.Precondition.Digest != "" && s.Precondition.Digest != engine.Fingerprint(s.Precondition.Identity):
			return fmt.Errorf("the precondition of step %s is not what its digest says", s.ID)
		case remedy.OnToken(s) && w.Coverage[engine.SectionTokens] != engine.Complete && w.Coverage[engine.SectionTokens] != engine.OddRows:
			return fmt.Errorf("step %s changes a token of workspace %s, whose tokens were not read whole", s.ID, w.Name)
		}
		if _, err := parseTime("not_before of step "+s.ID, s.NotBefore); err != nil {
			return err
		}
		ids[s.ID] = true
	}
	return nil
}

func parseTime(field, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%s is no time: %q", field, text)
	}
	return t, nil
}

// decodeStrict decodes JSON that has one meaning only: no key twice, in another
// letter case or unknown, nothing but UTF-8, and nothing after the end. Numbers of
// values that may be anything stay as they are written.
func decodeStrict(content []byte, into any) error {
	return jsonv2.Unmarshal(content, into, jsonv2.RejectUnknownMembers(true), jsonv2.WithUnmarshalers(jsonv2.UnmarshalFromFunc(
		func(decoder *jsontext.Decoder, value *any) error {
			if decoder.PeekKind() != '0' {
				return errors.ErrUnsupported
			}
			text, err := decoder.ReadValue()
			*value = json.Number(text)
			return err
		})))
}
