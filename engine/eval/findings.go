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

var errNoSet = errors.New("deny is no set; write deny contains message if …")

// readDeny reads the set deny: messages, sorted, and what objects in it say beside
// msg. What several say under one key becomes a list where it differs.
func readDeny(value ast.Value) (messages []string, details map[string]any, err error) {
	if wrapped, ok := value.(*ast.Array); ok && wrapped.Len() == 1 {
		value = wrapped.Elem(0).Value
	}
	set, ok := value.(ast.Set)
	if !ok {
		return nil, nil, errNoSet
	}
	said := map[string][]any{}
	for _, element := range set.Slice() { // sorted
		switch e := element.Value.(type) {
		case ast.String:
			messages = append(messages, string(e))
		case ast.Object:
			fields, _ := toGo(e).(map[string]any)
			text, ok := fields["msg"].(string)
			if !ok {
				return nil, nil, fmt.Errorf("an object in deny has no text msg: %v", e)
			}
			messages = append(messages, text)
			delete(fields, "msg")
			for key, field := range fields {
				if !slices.ContainsFunc(said[key], func(other any) bool { return fmt.Sprint(other) == fmt.Sprint(field) }) {
					said[key] = append(said[key], field)
				}
			}
		default:
			return nil, nil, fmt.Errorf("an element of deny is neither a string nor an object with msg: %v", element)
		}
	}
	slices.Sort(messages)
	details = make(map[string]any, len(said))
	for key, values := range said {
		details[key] = values
		if len(values) == 1 {
			details[key] = values[0]
		}
	}
	return slices.Compact(messages), details, nil
}

// evidence is what a failed finding rests on: the fields of input that the
// policy refers to, its parameters, and the details that it gave. Parameters
// that the details repeat are left out.
func (a *assignment) evidence(input ast.Value, details map[string]any) map[string]any {
	evidence := map[string]any{}
	for _, ref := range a.Reads.Refs {
		if policy.Word(ref, 1) == "params" || policy.Word(ref, 1) == "" {
			continue
		}
		value, err := input.Find(ref[1:])
		if err == nil {
			flatten(evidence, evidenceKey(a.Resource, ref), value)
		}
	}
	for key, value := range a.params {
		if _, told := details[strings.TrimPrefix(key, "params.")]; !told {
			evidence[key] = value
		}
	}
	maps.Copy(evidence, details)
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
		if !v.Until(func(element *ast.Term) bool { return !ast.IsScalar(element.Value) }) {
			evidence[key] = toGo(v)
		}
	default:
		evidence[key] = toGo(v)
	}
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
		if i, ok := v.Int64(); ok {
			return i
		}
		if f, ok := v.Float64(); ok && !math.IsInf(f, 0) {
			return f
		}
		return json.Number(v)
	case *ast.Array:
		list := make([]any, 0, v.Len())
		v.Foreach(func(element *ast.Term) { list = append(list, toGo(element.Value)) })
		return list
	case ast.Set:
		list := make([]any, 0, v.Len())
		v.Foreach(func(element *ast.Term) { list = append(list, toGo(element.Value)) })
		return list
	case ast.Object:
		out := make(map[string]any, v.Len())
		v.Foreach(func(key, element *ast.Term) { out[keyText(key)] = toGo(element.Value) })
		return out
	}
	return value.String()
}

func keyText(key *ast.Term) string {
	if text, ok := key.Value.(ast.String); ok {
		return string(text)
	}
	return key.String()
}
