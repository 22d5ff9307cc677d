package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/remedy"
)

// Encode renders a plan as its file. Every plan that Build makes can be read
// back by Read.
func Encode(p engine.Plan) []byte { return indented(engine.EscapeJSON(engine.CompactJSON(p))) }

// indented lays compact JSON out as files hold it.
func indented(compact []byte) []byte {
	var b bytes.Buffer
	_ = json.Indent(&b, compact, "", "  ") // what CompactJSON gives always indents
	b.WriteByte('\n')
	return b.Bytes()
}

// Save writes a plan's file and returns the file's digest.
func Save(path string, p engine.Plan) (sha256sum string, err error) {
	content := Encode(p)
	return Digest(content), Write(path, content)
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
	var p engine.Plan
	if err := checkSchema(content, engine.PlanSchema); err != nil {
		return p, err
	}
	if err := decodeStrict(content, &p); err != nil {
		return p, refused("strict_json", "read plan", "A plan is never edited: make it anew with `patrol plan`.", err)
	}
	if !bytes.Equal(Encode(p), content) {
		return p, refused("strict_json", "read plan", "A plan is never edited: make it anew with `patrol plan`.",
			errors.New("the file is not written as patrol writes plans: letter case or order of keys, spaces, or numbers differ"))
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

// schemaOf is the version that a file states; nil when it states none. It stands
// first in every file that patrol writes, and no more is read of those: a plan
// may be very large.
func schemaOf(content []byte) *int {
	var head struct {
		Schema *int `json:"schema"`
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	opening, err := decoder.Token()
	if err != nil || opening != json.Delim('{') {
		return nil
	}
	if key, err := decoder.Token(); err == nil && key == "schema" {
		if decoder.Decode(&head.Schema) != nil {
			return nil
		}
		return head.Schema
	}
	if json.Unmarshal(content, &head) != nil {
		return nil
	}
	return head.Schema
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
	if err := checkTimes(p); err != nil {
		return err
	}
	if p.OnUse != OnUseSkip && p.OnUse != OnUseProceed {
		return fmt.Errorf("on_use is %q", p.OnUse)
	}
	if p.Limits.MaxSteps < 0 || p.Limits.MaxPercent < 0 || p.Limits.MaxPerOwner < 0 || p.Limits.MaxRecentlyUsed < 0 || p.Limits.MaxEndangered < 0 || p.Limits.RecentlyUsedDays < 0 {
		return errors.New("a limit is negative")
	}
	return checkSteps(p)
}

func checkTimes(p engine.Plan) error {
	asOf, err := parseTime("as_of", p.AsOf)
	if err != nil {
		return err
	}
	notBefore, err := parseTime("not_before", p.NotBefore)
	if err != nil {
		return err
	}
	expires, err := parseTime("expires_at", p.ExpiresAt)
	if err != nil {
		return err
	}
	if notBefore.Before(asOf) || expires.Before(notBefore) || expires.Sub(notBefore) > MaxValidity {
		return fmt.Errorf("as_of %s, not_before %s and expires_at %s do not follow each other within %s", p.AsOf, p.NotBefore, p.ExpiresAt, MaxValidity)
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

func checkSteps(p engine.Plan) error {
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

// decodeStrict decodes JSON that has one meaning only. encoding/json takes the
// last of two equal keys, takes TOKEN_ID for token_id, replaces bytes that are
// not UTF-8 and stops at the end of the first value: what one program approves
// another could read differently. All of that is an error here, and unknown
// fields are as well. Numbers stay as they are written.
func decodeStrict(content []byte, into any) error {
	if !utf8.Valid(content) {
		return errors.New("the file is not UTF-8")
	}
	if err := checkKeys(content); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	return decoder.Decode(into)
}

// maxDepth bounds nesting far beyond any plan.
const maxDepth = 64

// checkKeys walks the tokens of exactly one JSON value.
func checkKeys(content []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	if err := walk(decoder, 0); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the end of the value")
	}
	return nil
}

func walk(decoder *json.Decoder, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		return walkObject(decoder, depth)
	case json.Delim('['):
		for decoder.More() {
			if err := walk(decoder, depth+1); err != nil {
				return err
			}
		}
		_, err := decoder.Token()
		return err
	}
	return nil
}

// walkObject refuses keys that differ in letter case only: encoding/json would
// take either for the same field.
func walkObject(decoder *json.Decoder, depth int) error {
	seen := map[string]string{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		folded := foldKey(key)
		if before, twice := seen[folded]; twice {
			return fmt.Errorf("keys %q and %q at byte %d count as the same", before, key, decoder.InputOffset())
		}
		seen[folded] = key
		if err := walk(decoder, depth+1); err != nil {
			return err
		}
	}
	_, err := decoder.Token()
	return err
}

// foldKey maps keys that strings.EqualFold holds for equal to one text.
func foldKey(key string) string { return strings.ToLower(strings.ToUpper(key)) }
