package eval

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"patrol/engine"
	"patrol/engine/policy"
)

// Explanation shows why a policy came to its result on one resource.
type Explanation struct {
	Status  engine.Status
	Message string
	Facts   []Fact // the fields of input that the policy refers to, sorted
	Params  []Fact // the parameters in force, sorted
	Input   string // the whole input, as JSON, without secrets
	Lines   []Line // the conditions that were tried, in the order of the file
}

// Fact is a field of input and its value, as JSON.
type Fact struct {
	Name  string
	Value string // "" when the field is absent
}

// Line is a line of Rego and whether what stands there held.
type Line struct {
	File string
	Row  int
	Text string
	Held bool
}

// Explained is what an explanation is about: a token, a secret or, with neither, the
// workspace.
type Explained struct {
	Token  *engine.Subject
	Secret *engine.Secret
}

// Explain judges one resource by one policy and tells how it came to the result.
func (s *Set) Explain(ctx context.Context, job Job, id string, on Explained) (Explanation, error) {
	if s.options.Sandbox != nil && slices.ContainsFunc(s.Resources, func(p *policy.Compiled) bool { return p.ID == id && !p.Trusted }) {
		return s.explainInSandbox(ctx, job, id, on)
	}
	options := s.options
	options.Plain = true // an index would pass over rules without trying their lines
	e, err := s.Select(func(p engine.Policy) bool { return p.ID == id }).With(options).start(ctx, job, func(engine.Finding) error { return nil })
	switch {
	case err != nil:
		return Explanation{}, err
	case e.tallies[id][engine.NotApplicable] > 0:
		return Explanation{Status: engine.NotApplicable, Message: "tokens are off here, or nobody asked for the data that the policy needs; see --with and --audit-log of `patrol collect`"}, nil
	case len(e.own) == 0:
		return Explanation{Status: engine.Unknown, Message: "data that the policy needs was not read; see `patrol snapshots show`"}, nil
	}
	a, j := e.own[0], e.judges[0]
	trace := &lineTrace{policy: a.Compiled, held: map[int]bool{}, rows: map[int]int{}}
	j.queries[a.Compiled].WithQueryTracer(trace)
	known, input := &subject{}, j.input(a)
	switch {
	case on.Token != nil:
		known = j.view.newSubject(*on.Token, allFields)
		input = j.input(a, seenBy(allFields).pairs(j.view, known)...)
	case on.Secret != nil:
		input = j.secretInput(a, *on.Secret)
	}
	explained := Explanation{Input: inputText(input.Value)}
	for _, ref := range a.Reads.Refs {
		if policy.Word(ref, 1) == "params" {
			continue
		}
		fact := Fact{Name: strings.TrimPrefix(ref.String(), "input.")}
		if value, err := input.Value.Find(ref[1:]); err == nil {
			fact.Value = engine.RedactSecrets(value.String())
		}
		explained.Facts = append(explained.Facts, fact)
	}
	for _, name := range engine.SortedKeys(a.params) {
		explained.Params = append(explained.Params, Fact{Name: name, Value: fmt.Sprint(a.params[name])})
	}
	result := outcome{status: engine.NotApplicable}
	if on.Token == nil || judges(a.Judges, on.Token.Facts.Expired) {
		result = j.decide(ctx, a, input, known)
	}
	explained.Status, explained.Message, explained.Lines = result.status, result.message, trace.lines()
	return explained, nil
}

const allFields = ^engine.FieldSet(0)

// inputText is input as JSON, without the parameters, which a policy has of its own.
func inputText(input ast.Value) string {
	value, err := ast.JSON(input)
	object, isObject := value.(map[string]any)
	if err != nil || !isObject {
		return ""
	}
	delete(object, "params")
	return engine.RedactSecrets(string(engine.CompactJSON(object)))
}

// lineTrace is a tracer that notes which lines of the policy held.
type lineTrace struct {
	policy *policy.Compiled
	held   map[int]bool // row → whether it held at least once
	rows   map[int]int  // row → how many rows the condition that begins there has
}

func (*lineTrace) Enabled() bool               { return true }
func (*lineTrace) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

func (t *lineTrace) TraceEvent(event topdown.Event) {
	if event.Location == nil || !strings.HasSuffix(event.Location.File, t.policy.File) {
		return
	}
	row := event.Location.Row
	if _, isExpr := event.Node.(*ast.Expr); isExpr {
		t.rows[row] = max(t.rows[row], 1+strings.Count(string(event.Location.Text), "\n"))
	}
	switch event.Op {
	case topdown.EvalOp:
		if _, seen := t.held[row]; !seen {
			t.held[row] = true // until it fails
		}
	case topdown.FailOp:
		t.held[row] = false
	case topdown.ExitOp:
		t.held[row] = true
	}
}

func (t *lineTrace) lines() []Line {
	source := strings.Split(t.policy.Source, "\n")
	var list []Line
	within := 0 // the last row of a condition of several rows
	for _, row := range slices.Sorted(maps.Keys(t.held)) {
		held := t.held[row]
		if row > within && row <= len(source) {
			within = row + max(t.rows[row], 1) - 1
			whole := strings.Join(strings.Fields(strings.Join(source[row-1:min(row-1+max(t.rows[row], 1), len(source))], " ")), " ")
			list = append(list, Line{File: t.policy.File, Row: row, Text: whole, Held: held})
		}
	}
	return list
}
