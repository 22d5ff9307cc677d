package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"patrol/engine"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// config is patrol.yaml, decoded strictly: an unknown key or a wrong type is an
// error with its line.
type config struct {
	path       string
	flags      map[string]configValue // keys that are flags
	workspaces []workspaceConfig
	account    *accountConfig // nil: none
	policies   map[string]tuningConfig
	overrides  []overrideConfig

	remediation remediationConfig
	approval    approvalConfig
	smtp        smtpConfig
}

// configValue is the value of a key that is a flag, one or several, and where it
// stands.
type configValue struct {
	items []string
	line  int
}

func (v configValue) text() string { return strings.Join(v.items, ",") }

// workspaceConfig says where a workspace is and how it is labelled.
type workspaceConfig struct {
	Name    string            `yaml:"name"`
	Profile string            `yaml:"profile"`
	Host    string            `yaml:"host"`
	Labels  map[string]string `yaml:"labels"`

	line int
}

// tuningConfig changes one policy.
type tuningConfig struct {
	enabled  *bool
	severity engine.Severity
	params   map[string]any
	lines    map[string]int // parameter → line
	line     int

	enabledLine, severityLine int
}

// overrideConfig changes policies where a workspace matches.
type overrideConfig struct {
	match    matchConfig
	policies map[string]tuningConfig
	line     int
}

// matchConfig holds globs; all that are given must match.
type matchConfig struct {
	Name   string            `yaml:"name"`
	Cloud  string            `yaml:"cloud"`
	Labels map[string]string `yaml:"labels"`
}

// loadConfig reads the file at path. A missing file is an error only when it
// was asked for.
func loadConfig(path string, required bool, isFlag func(string) bool) (*config, error) {
	c := &config{
		path: path, flags: map[string]configValue{}, policies: map[string]tuningConfig{},
		remediation: defaultRemediation(), approval: defaultApproval(),
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !required {
		c.path = ""
		return c, nil
	}
	if err != nil {
		return nil, &engine.Error{Class: engine.ClassUsage, Reason: "config", Op: "read configuration", Target: path,
			Hint: "Name an existing file with --config, or leave the flag out.", Err: err}
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, c.syntaxError(err)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if err := c.readTop(doc.Body, isFlag); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *config) readTop(body ast.Node, isFlag func(string) bool) error {
	return c.eachKey(body, "the file", func(key string, value ast.Node, line int) error {
		switch key {
		case "workspaces":
			return c.readWorkspaces(value)
		case "account":
			if _, text := value.(*ast.StringNode); text {
				break // the flag of that name: a profile
			}
			return c.readAccount(value, line)
		case "policies":
			return c.readPolicies(value, c.policies)
		case "overrides":
			return c.readOverrides(value)
		case "remediation":
			return c.readRemediation(value)
		case "approval":
			return c.readApproval(value)
		case "notices":
			return c.readNotices(value)
		}
		if !isFlag(key) {
			return c.errorf(line, "unknown key %q", key)
		}
		items, err := c.flagItems(key, value, line)
		c.flags[key] = configValue{items, line}
		return err
	})
}

func (c *config) readWorkspaces(node ast.Node) error {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		return c.errorf(lineOf(node), "workspaces: want a list, such as `- profile: prod`")
	}
	lines := map[string]int{} // name → line: labels are kept by name
	for _, item := range list.Values {
		w := workspaceConfig{line: lineOf(item)}
		if err := c.decode(item, &w); err != nil {
			return err
		}
		if w.Profile == "" && w.Host == "" {
			return c.errorf(w.line, "workspace %q: want a profile or a host", w.Name)
		}
		if first, twice := lines[w.Name]; twice && w.Name != "" {
			return c.errorf(w.line, "workspace %q: line %d has this name already", w.Name, first)
		}
		lines[w.Name] = w.line
		c.workspaces = append(c.workspaces, w)
	}
	return nil
}

func (c *config) readPolicies(node ast.Node, into map[string]tuningConfig) error {
	return c.eachKey(node, "policies", func(id string, value ast.Node, line int) error {
		tuning := tuningConfig{line: line, lines: map[string]int{}, params: map[string]any{}}
		err := c.eachKey(value, id, func(key string, value ast.Node, line int) error {
			return c.readTuning(&tuning, key, value, line)
		})
		into[id] = tuning
		return err
	})
}

func (c *config) readTuning(tuning *tuningConfig, key string, value ast.Node, line int) error {
	switch key {
	case "enabled":
		var enabled bool
		err := c.decode(value, &enabled)
		tuning.enabled, tuning.enabledLine = &enabled, line
		return err
	case "severity":
		var text string
		if err := c.decode(value, &text); err != nil {
			return err
		}
		severity, err := engine.ParseSeverity(text)
		if err != nil {
			return c.errorf(line, "%v", err)
		}
		tuning.severity, tuning.severityLine = severity, line
		return nil
	case "params":
		return c.eachKey(value, "params", func(name string, value ast.Node, line int) error {
			var decoded any
			err := c.decode(value, &decoded)
			tuning.params[name], tuning.lines[name] = decoded, line
			return err
		})
	}
	return c.errorf(line, "unknown key %q: want enabled, severity or params", key)
}

func (c *config) readOverrides(node ast.Node) error {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		return c.errorf(lineOf(node), "overrides: want a list of `match` and `policies`")
	}
	for _, item := range list.Values {
		o := overrideConfig{policies: map[string]tuningConfig{}, line: lineOf(item)}
		err := c.eachKey(item, "override", func(key string, value ast.Node, line int) error {
			switch key {
			case "match":
				return c.decode(value, &o.match)
			case "policies":
				return c.readPolicies(value, o.policies)
			}
			return c.errorf(line, "unknown key %q: want match or policies", key)
		})
		if err != nil {
			return err
		}
		c.overrides = append(c.overrides, o)
	}
	return nil
}

// flagItems renders a scalar, or each of a list of scalars, as a flag's argument.
func (c *config) flagItems(key string, value ast.Node, line int) ([]string, error) {
	var decoded any
	if err := c.decode(value, &decoded); err != nil {
		return nil, err
	}
	items, isList := decoded.([]any)
	if !isList {
		items = []any{decoded}
	}
	texts := make([]string, len(items))
	for i, item := range items {
		switch item.(type) {
		case string, bool, int64, uint64, float64:
			texts[i] = fmt.Sprint(item)
		default:
			return nil, c.errorf(line, "%s: want a value or a list of values", key)
		}
	}
	return texts, nil
}

// eachKey visits the keys of a mapping in the order of the file. An empty value
// counts as an empty mapping.
func (c *config) eachKey(node ast.Node, what string, visit func(key string, value ast.Node, line int) error) error {
	var entries []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	case *ast.NullNode:
	default:
		return c.errorf(lineOf(node), "%s: want keys and values", what)
	}
	for _, entry := range entries {
		var key string
		if err := c.decode(entry.Key, &key); err != nil {
			return err
		}
		if err := visit(key, entry.Value, lineOf(entry.Key)); err != nil {
			return err
		}
	}
	return nil
}

// configLeaf is a value in the file: a scalar, a list, or nothing.
type configLeaf struct {
	key  string // with those above it: account.include.names
	text string // of a list, its values with commas between
	line int
}

// leaves are the values below a node, in the order of the file. They tell what
// stands there: whether that is right is for who decodes it.
func (c *config) leaves(node ast.Node, key string) (found []configLeaf, err error) {
	whole := configLeaf{key: key, line: lineOf(node)}
	switch n := node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	case *ast.AnchorNode:
		return c.leaves(n.Value, key)
	case *ast.NullNode:
		return []configLeaf{whole}, nil
	default:
		items, err := c.flagItems(key, node, whole.line)
		if whole.text = strings.Join(items, ","); err != nil {
			whole.text = strings.Join(strings.Fields(node.String()), " ") // an alias, or what somebody else refuses
		}
		return []configLeaf{whole}, nil
	}
	err = c.eachKey(node, key, func(name string, value ast.Node, line int) error {
		below, err := c.leaves(value, key+"."+name)
		for i := range below {
			if below[i].key == key+"."+name {
				below[i].line = line // of the key: its value may begin further down
			}
		}
		found = append(found, below...)
		return err
	})
	if err == nil && len(found) == 0 {
		found = []configLeaf{whole}
	}
	return found, err
}

func (c *config) decode(node ast.Node, into any) error {
	if err := yaml.NodeToValue(node, into, yaml.Strict()); err != nil {
		return c.syntaxError(err)
	}
	return nil
}

// yamlError is what errors of the YAML library tell of their place.
type yamlError interface {
	error
	GetToken() *token.Token
	GetMessage() string
}

func (c *config) syntaxError(err error) error {
	var placed yamlError
	if !errors.As(err, &placed) || placed.GetToken() == nil {
		return c.errorf(0, "%v", err)
	}
	return c.errorf(placed.GetToken().Position.Line, "%s", placed.GetMessage())
}

func (c *config) errorf(line int, format string, args ...any) error {
	return &engine.Error{Class: engine.ClassUsage, Reason: "config", Op: "read configuration", Target: c.place(line),
		Hint: "Correct the line; docs/configuration.md lists every key.", Err: fmt.Errorf(format, args...)}
}

func (c *config) place(line int) string {
	if line == 0 {
		return c.path
	}
	return fmt.Sprintf("%s:%d", c.path, line)
}

func lineOf(node ast.Node) int {
	if node == nil || node.GetToken() == nil {
		return 0
	}
	return node.GetToken().Position.Line
}
