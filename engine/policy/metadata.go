package policy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
	"patrol/engine/remedy"
)

var (
	idPattern    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)
	paramPattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

func remedies() []string {
	var words []string
	for _, name := range remedy.Names() {
		words = append(words, string(name))
	}
	return words
}

// annotationKeys are the keys that METADATA may have, patrol's own under custom.
func annotationKeys() []string {
	return []string{"title", "description", "schemas", "custom", "scope", "related_resources", "authors", "organizations", "entrypoint"}
}

func customKeys() []string {
	return []string{"id", "severity", "remedy", "remediation", "controls", "aliases", "needs", "params", "judges", "tolerates", "accepts"}
}

// readMetadata turns the package's METADATA into a policy. Everything wrong is
// told, with the line of the key.
func readMetadata(file *source, problems *Problems) engine.Policy {
	p := engine.Policy{
		Resource: engine.Resource(strings.Split(file.pkg(), ".")[1]),
		Package:  file.pkg(), File: file.path, Pack: file.pack, Source: file.text,
	}
	note := packageAnnotations(file.module)
	if note == nil {
		problems.add(file.place(), file.line(), reasonMetadata, "no METADATA before the package; it says id, severity, title, description and remedy")
		return p
	}
	r := metadataReader{file: file, from: note.Location.Row, problems: problems}
	r.checkKeys(note)
	p.Title = r.required("title", note.Title)
	p.Description = r.required("description", note.Description)
	p.ID = r.id(note.Custom)
	p.Severity = r.severity(note.Custom)
	p.Remedy = r.oneOf("remedy", r.required("remedy", r.text(note.Custom, "remedy")), remedies())
	p.Remediation = r.text(note.Custom, "remediation")
	p.Judges = r.judges(note.Custom, p.Resource)
	p.Controls = r.controls(note.Custom)
	p.Aliases = r.texts("aliases", note.Custom["aliases"])
	p.Needs = r.texts("needs", note.Custom["needs"])
	p.Params = r.params(note.Custom)
	r.checkSeen(p)
	return p
}

func packageAnnotations(module *ast.Module) *ast.Annotations {
	for _, note := range module.Annotations {
		if note.Scope == "package" {
			return note
		}
	}
	return nil
}

// metadataReader reads one METADATA block.
type metadataReader struct {
	file     *source
	from     int // line of # METADATA
	problems *Problems
}

// wrong adds a problem at the line of a key.
func (r metadataReader) wrong(key, format string, args ...any) {
	r.problems.add(r.file.place(), r.lineOf(key), reasonMetadata, format, args...)
}

// lineOf finds the line of a key; the block's first line when the key is missing.
func (r metadataReader) lineOf(key string) int {
	pattern := regexp.MustCompile(`(^|[\s{,"'])` + regexp.QuoteMeta(key) + `["']?\s*:`)
	for number, line := range r.block() {
		if pattern.MatchString(line) {
			return r.from + number
		}
	}
	return r.from
}

func (r metadataReader) block() []string {
	lines := strings.Split(r.file.text, "\n")[r.from-1:]
	end := slices.IndexFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "#") })
	if end < 0 {
		return lines
	}
	return lines[:end]
}

// checkKeys refuses what nobody would read: a key of patrol's that was written
// beside custom, and misspelt ones below it.
func (r metadataReader) checkKeys(note *ast.Annotations) {
	for _, line := range r.block() {
		key, _, found := strings.Cut(strings.TrimPrefix(line, "# "), ":")
		if found && paramPattern.MatchString(key) && !slices.Contains(annotationKeys(), key) {
			beside := ""
			if slices.Contains(customKeys(), key) {
				beside = "; it belongs under custom"
			}
			r.wrong(key, "unknown key %s in METADATA%s", key, beside)
		}
	}
	for _, key := range engine.SortedKeys(note.Custom) {
		if !slices.Contains(customKeys(), key) {
			r.wrong(key, "unknown key custom.%s; known are %s", key, strings.Join(customKeys(), ", "))
		}
	}
	for _, s := range note.Schemas {
		resource := strings.Split(r.file.pkg(), ".")[1]
		if s.Path.String() != "input" || s.Schema.String() != "schema."+resource {
			r.wrong("schemas", "schemas: want [{input: schema.%s}]", resource)
		}
	}
}

// checkSeen refuses characters that act instead of being seen: what METADATA says is
// printed in terminals, logs, pages and tickets.
func (r metadataReader) checkSeen(p engine.Policy) {
	texts := map[string]string{
		"title": p.Title, "description": p.Description, "remediation": p.Remediation, "aliases": strings.Join(p.Aliases, " "), "needs": strings.Join(p.Needs, " "),
	}
	for framework, controls := range p.Controls {
		texts["controls"] += framework + strings.Join(controls, " ")
	}
	for _, param := range p.Params {
		texts[param.Name] = fmt.Sprint(param.Description, param.Default, param.Enum, param.Pattern)
	}
	for _, key := range engine.SortedKeys(texts) {
		if engine.SafeLines(texts[key]) != texts[key] {
			r.wrong(key, "%s holds characters that are not seen, or a command to a pipeline", key)
		}
	}
}

func (r metadataReader) required(key, value string) string {
	if strings.TrimSpace(value) == "" {
		r.wrong(key, "%s is missing", key)
	}
	return value
}

func (r metadataReader) text(custom map[string]any, key string) string {
	value, given := custom[key]
	if !given {
		return ""
	}
	text, ok := value.(string)
	if !ok {
		r.wrong(key, "%s: want a string, got %v", key, value)
		return "?"
	}
	return text
}

func (r metadataReader) id(custom map[string]any) string {
	id := r.required("id", r.text(custom, "id"))
	if id != "" && !idPattern.MatchString(id) {
		r.wrong("id", "id %q: want letters, digits, dots and dashes", id)
	}
	return id
}

func (r metadataReader) severity(custom map[string]any) engine.Severity {
	names := make([]string, 0, len(engine.Severities()))
	for _, s := range engine.Severities() {
		names = append(names, string(s))
	}
	return engine.Severity(r.oneOf("severity", r.required("severity", r.text(custom, "severity")), names))
}

func (r metadataReader) judges(custom map[string]any, resource engine.Resource) engine.Judges {
	text := r.text(custom, "judges")
	if resource != engine.ResourceToken {
		if text != "" {
			r.wrong("judges", "judges is for policies on tokens")
		}
		return ""
	}
	words := []string{string(engine.JudgesLive), string(engine.JudgesExpired), string(engine.JudgesAll)}
	return engine.Judges(cmp.Or(r.oneOf("judges", text, words), string(engine.JudgesLive)))
}

func (r metadataReader) oneOf(key, value string, words []string) string {
	if strings.TrimSpace(value) != "" && !slices.Contains(words, value) {
		r.wrong(key, "%s %q: want one of %s", key, value, strings.Join(words, ", "))
	}
	return value
}

func (r metadataReader) controls(custom map[string]any) map[string][]string {
	value, given := custom["controls"]
	if !given {
		return nil
	}
	frameworks, ok := value.(map[string]any)
	if !ok {
		r.wrong("controls", "controls: want a map of framework to a list of controls")
		return nil
	}
	controls := make(map[string][]string, len(frameworks))
	for _, framework := range engine.SortedKeys(frameworks) {
		controls[framework] = r.texts(framework, frameworks[framework])
	}
	return controls
}

func (r metadataReader) texts(key string, value any) []string {
	if value == nil {
		return nil
	}
	items, ok := value.([]any)
	if !ok {
		r.wrong(key, "%s: want a list of strings, got %v", key, value)
		return nil
	}
	texts := make([]string, 0, len(items))
	for _, item := range items {
		text, ok := item.(string)
		if !ok || strings.TrimSpace(text) == "" {
			r.wrong(key, "%s: want a list of strings, got %v; quote it", key, item)
			continue
		}
		texts = append(texts, text)
	}
	return texts
}

func (r metadataReader) params(custom map[string]any) []engine.Param {
	value, given := custom["params"]
	if !given {
		return nil
	}
	byName, ok := value.(map[string]any)
	if !ok {
		r.wrong("params", "params: want a map of name to {default, description, enum, pattern}")
		return nil
	}
	params := make([]engine.Param, 0, len(byName))
	for _, name := range engine.SortedKeys(byName) {
		param, err := readParam(name, byName[name])
		if err != nil {
			r.wrong(name, "parameter %s: %v", name, err)
			continue
		}
		params = append(params, param)
	}
	return params
}

func readParam(name string, value any) (engine.Param, error) {
	if !paramPattern.MatchString(name) {
		return engine.Param{}, fmt.Errorf("want a name of small letters, digits and _")
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return engine.Param{}, fmt.Errorf("want {default: …, description: …}")
	}
	for _, key := range engine.SortedKeys(fields) {
		if !slices.Contains([]string{"default", "description", "enum", "pattern"}, key) {
			return engine.Param{}, fmt.Errorf("unknown key %s", key)
		}
	}
	description, ok := fields["description"].(string)
	if !ok || strings.TrimSpace(description) == "" {
		return engine.Param{}, fmt.Errorf("description is missing")
	}
	if fields["default"] == nil {
		return engine.Param{}, fmt.Errorf("default is missing; without it the policy would be silent")
	}
	standard, err := normal(fields["default"])
	if err != nil {
		return engine.Param{}, fmt.Errorf("default: %w", err)
	}
	p := engine.Param{Name: name, Description: description, Default: standard, Value: standard, Origin: "default"}
	enum, _ := fields["enum"].([]any)
	for _, word := range enum {
		text, ok := word.(string)
		if !ok {
			return p, fmt.Errorf("enum: want a list of texts")
		}
		p.Enum = append(p.Enum, text)
	}
	if fields["enum"] != nil && p.Enum == nil {
		return p, fmt.Errorf("enum: want a list of texts")
	}
	if fields["pattern"] != nil {
		if p.Pattern, ok = fields["pattern"].(string); !ok {
			return p, fmt.Errorf("pattern: want a regular expression")
		}
		if _, err := regexp.Compile(p.Pattern); err != nil {
			return p, fmt.Errorf("pattern: %w", err)
		}
	}
	if err := fits(p, standard); err != nil {
		return p, fmt.Errorf("default: %w", err)
	}
	return p, nil
}
