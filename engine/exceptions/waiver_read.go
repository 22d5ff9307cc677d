package exceptions

import (
	"errors"
	"fmt"
	"strings"

	"patrol/engine"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Waivers is a waivers file.
type Waivers struct {
	Path  string
	Rules []engine.WaiverRule // in the order of the file
}

// ParseWaivers reads waivers strictly: whatever it does not understand is an error
// with its line, because a waiver that nobody reads would excuse nothing, or
// too much. known are the policies that a waiver may name.
func ParseWaivers(path string, text []byte, known []engine.Policy) (*Waivers, error) {
	r := reader{path: path, known: byName(known), ids: map[string]int{}}
	rules := r.file(text)
	if err := r.problems.err(); err != nil {
		return nil, err
	}
	return &Waivers{Path: path, Rules: rules}, nil
}

// byName finds policies by id and by alias, which several may share.
func byName(known []engine.Policy) map[string][]engine.Policy {
	names := map[string][]engine.Policy{}
	for _, p := range known {
		for _, name := range append([]string{p.ID}, p.Aliases...) {
			names[strings.ToLower(name)] = append(names[strings.ToLower(name)], p)
		}
	}
	return names
}

// reader walks the YAML and collects what is wrong with it.
type reader struct {
	path     string
	known    map[string][]engine.Policy
	ids      map[string]int // lower case → line
	problems Problems
}

func (r *reader) wrong(line int, key, format string, args ...any) {
	r.problems = append(r.problems, Problem{Path: r.path, Line: line, Key: key, Message: fmt.Sprintf(format, args...)})
}

// yamlError is what errors of the YAML library tell of their place.
type yamlError interface {
	error
	GetToken() *token.Token
	GetMessage() string
}

func (r *reader) file(text []byte) []engine.WaiverRule {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		r.syntax(err)
		return nil
	}
	var rules []engine.WaiverRule
	seen := false
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.NullType {
			continue
		}
		if seen {
			r.wrong(lineOf(doc.Body), "", "a second document: put all waivers under one `waivers:`")
			break
		}
		seen = true
		rules = r.top(doc.Body)
	}
	return rules
}

func (r *reader) syntax(err error) {
	var placed yamlError
	if errors.As(err, &placed) && placed.GetToken() != nil {
		r.wrong(placed.GetToken().Position.Line, "", "%s", placed.GetMessage())
		return
	}
	r.wrong(0, "", "%v", err)
}

func (r *reader) top(body ast.Node) []engine.WaiverRule {
	var rules []engine.WaiverRule
	r.eachKey(body, "the file", func(key string, value ast.Node, line int) {
		if key != "waivers" {
			r.wrong(line, key, "unknown key: want waivers")
			return
		}
		rules = r.list(value, line)
	})
	return rules
}

func (r *reader) list(node ast.Node, line int) []engine.WaiverRule {
	var rules []engine.WaiverRule
	switch list := node.(type) {
	case *ast.SequenceNode:
		for _, item := range list.Values {
			rules = append(rules, r.waiver(item))
		}
	case *ast.NullNode, nil:
	default:
		r.wrong(line, "waivers", "want a list, such as `- policy: PAT-016`")
	}
	return rules
}

// eachKey visits the keys of a mapping in the order of the file.
func (r *reader) eachKey(node ast.Node, what string, visit func(key string, value ast.Node, line int)) {
	var entries []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		r.wrong(lineOf(node), "", "%s: want keys and values", what)
	}
	for _, entry := range entries {
		line := lineOf(entry.Key)
		key, problem := text(entry.Key)
		if problem != "" {
			r.wrong(line, "", "a key that is no plain text")
			continue
		}
		visit(key, entry.Value, line)
	}
}

// text is the text of a scalar as it stands in the file, so that a token id
// of digits only keeps each of them. The problem is "" when it is one.
func text(node ast.Node) (value, problem string) {
	switch n := node.(type) {
	case *ast.StringNode:
		value = n.Value
	case *ast.LiteralNode:
		value = n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode:
		value = n.GetToken().Value
	case *ast.NullNode, nil:
		return "", "is empty"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		return "", "anchors, aliases, tags and merge keys are not read here; write the value out"
	default:
		return "", "want text; quote it"
	}
	if value = strings.TrimSpace(value); value == "" {
		return "", "is empty"
	}
	return value, ""
}

func lineOf(node ast.Node) int {
	if node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return 0
	}
	return node.GetToken().Position.Line
}
