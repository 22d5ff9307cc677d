package eval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
	"patrol/engine/policy"
)

// finding makes the finding of an outcome.
func (v *workspaceView) finding(a *assignment, on target, o outcome) engine.Finding {
	w := v.snapshot.Workspace
	f := engine.Finding{
		Policy: a.ID, Title: a.Title, Severity: a.severity, Status: o.status,
		Workspace: w.Name, WorkspaceID: w.ID, Resource: on.resource, ResourceID: on.id, Owner: on.owner, OwnerID: on.ownerID,
		Message: o.message, Evidence: o.evidence, Remedy: a.Remedy, Row: on.row,
		OwnerInAccount: on.account,
	}
	if f.Evidence == nil {
		f.Evidence = map[string]any{}
	}
	f.Fingerprint = fingerprint(f)
	return f
}

// fingerprint identifies a finding across runs: what is wrong with what, where. One
// that names objects of a workspace is another where it names others.
func fingerprint(f engine.Finding) string {
	parts := append([]string{f.Policy, f.WorkspaceID, string(f.Resource), f.ResourceID}, f.Objects()...)
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])[:32]
}

// denial is what a policy said of a resource.
type denial struct {
	messages []string
	details  map[string]any
}

func (d denial) message() string { return strings.Join(d.messages, "; ") }

var errNoSet = errors.New("deny is no set; write deny contains message if …")

// readDeny reads the set deny: messages, or objects with msg and details.
func readDeny(value ast.Value) (denial, error) {
	if wrapped, ok := value.(*ast.Array); ok && wrapped.Len() == 1 {
		value = wrapped.Elem(0).Value
	}
	set, ok := value.(ast.Set)
	if !ok {
		return denial{}, errNoSet
	}
	d := denial{details: map[string]any{}}
	for _, element := range set.Slice() { // sorted
		if err := d.add(element.Value); err != nil {
			return denial{}, err
		}
	}
	slices.Sort(d.messages)
	d.messages = slices.Compact(d.messages)
	for key, value := range d.details {
		if many, ok := value.(several); ok {
			d.details[key] = []any(many)
		}
	}
	return d, nil
}

func (d *denial) add(element ast.Value) error {
	switch e := element.(type) {
	case ast.String:
		d.messages = append(d.messages, string(e))
		return nil
	case ast.Object:
		return d.addObject(e)
	}
	return fmt.Errorf("an element of deny is neither a string nor an object with msg: %v", element)
}

func (d *denial) addObject(o ast.Object) error {
	details, _ := toGo(o).(map[string]any)
	text, ok := details["msg"].(string)
	if !ok {
		return fmt.Errorf("an object in deny has no text msg: %v", o)
	}
	d.messages = append(d.messages, text)
	delete(details, "msg")
	for key, value := range details {
		d.merge(key, value)
	}
	return nil
}

// merge keeps what several objects say under one key, as a list when they differ.
func (d *denial) merge(key string, value any) {
	before, taken := d.details[key]
	switch many, isMany := before.(several); {
	case !taken:
		d.details[key] = value
	case isMany:
		d.details[key] = many.with(value)
	default:
		d.details[key] = several{before}.with(value).simplify()
	}
}

// several is a list made by merge, as opposed to one that a policy gave.
type several []any

func (s several) with(value any) several {
	text := fmt.Sprint(value)
	if slices.ContainsFunc(s, func(other any) bool { return fmt.Sprint(other) == text }) {
		return s
	}
	return append(s, value)
}

func (s several) simplify() any {
	if len(s) == 1 {
		return s[0]
	}
	return s
}

// evidence is what a failed finding rests on: the fields of input that the
// policy refers to, its parameters, and the details that it gave. Parameters
// that the details repeat are left out.
func (d denial) evidence(p *policy.Compiled, input ast.Value, params map[string]any) map[string]any {
	evidence := map[string]any{}
	for _, ref := range p.Reads.Refs {
		if policy.Word(ref, 1) == "params" || policy.Word(ref, 1) == "" {
			continue
		}
		value, err := input.Find(ref[1:])
		if err == nil {
			flatten(evidence, evidenceKey(p.Resource, ref), value)
		}
	}
	for key, value := range params {
		if _, told := d.details[strings.TrimPrefix(key, "params.")]; !told {
			evidence[key] = value
		}
	}
	maps.Copy(evidence, d.details)
	return evidence
}

// evidenceKey is the ref without input and without the resource: lifetime_days,
// owner.active.
func evidenceKey(resource engine.Resource, ref ast.Ref) string {
	var words []string
	for i := range ref[1:] {
		words = append(words, policy.Word(ref, i+1))
	}
	if words[0] == string(resource) {
		words = words[1:]
	}
	return strings.Join(words, ".")
}

// flatten adds scalars and lists of scalars under flat keys. Comments stay out:
// they may hold a secret. Lists of objects stay out: they are as long as the
// workspace is large, and policies give the entries that matter.
func flatten(evidence map[string]any, key string, value ast.Value) {
	if key == "comment" || key == "token.comment" {
		return
	}
	switch v := value.(type) {
	case ast.Object:
		v.Foreach(func(name, element *ast.Term) {
			flatten(evidence, strings.TrimPrefix(key+"."+keyText(name), "."), element.Value)
		})
	case *ast.Array:
		if !v.Until(func(element *ast.Term) bool { return !scalar(element.Value) }) {
			evidence[key] = toGo(v)
		}
	default:
		evidence[key] = toGo(v)
	}
}

func scalar(value ast.Value) bool {
	switch value.(type) {
	case ast.String, ast.Number, ast.Boolean, ast.Null:
		return true
	}
	return false
}

// toGo turns a value of Rego into one of JSON; whole numbers stay whole, sets
// become sorted lists.
func toGo(value ast.Value) any {
	switch v := value.(type) {
	case ast.Null:
		return nil
	case ast.Boolean:
		return bool(v)
	case ast.String:
		return string(v)
	case ast.Number:
		return numberToGo(v)
	case *ast.Array:
		return listToGo(v.Len(), v.Foreach)
	case ast.Set:
		return listToGo(v.Len(), v.Foreach)
	case ast.Object:
		out := make(map[string]any, v.Len())
		v.Foreach(func(key, element *ast.Term) { out[keyText(key)] = toGo(element.Value) })
		return out
	}
	return value.String()
}

func numberToGo(n ast.Number) any {
	if i, ok := n.Int64(); ok {
		return i
	}
	if f, ok := n.Float64(); ok && !math.IsInf(f, 0) {
		return f
	}
	return json.Number(n)
}

func listToGo(n int, foreach func(func(*ast.Term))) []any {
	list := make([]any, 0, n)
	foreach(func(element *ast.Term) { list = append(list, toGo(element.Value)) })
	return list
}

func keyText(key *ast.Term) string {
	if text, ok := key.Value.(ast.String); ok {
		return string(text)
	}
	return key.String()
}

// paramEvidence flattens parameters for the evidence of findings.
func paramEvidence(params map[string]any) map[string]any {
	evidence := make(map[string]any, len(params))
	for name, value := range maps.All(params) {
		evidence["params."+name] = value
	}
	return evidence
}
