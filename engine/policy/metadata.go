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

	// The keys that METADATA may have, patrol's own under custom.
	annotationKeys = []string{"title", "description", "schemas", "custom", "scope", "related_resources", "authors", "organizations", "entrypoint"}
	customKeys     = []string{"id", "severity", "remedy", "remediation", "controls", "aliases", "needs", "params", "judges", "tolerates", "accepts"}
)

// metadata is the package's METADATA; nil when there is none.
func (s *source) metadata() *ast.Annotations {
	for _, note := range s.module.Annotations {
		if note.Scope == "package" {
			return note
		}
	}
	return nil
}

// metadataLines are the lines of METADATA, and in which line of the file they begin.
func (s *source) metadataLines() (lines []string, from int) {
	from = s.metadata().Location.Row
	for line := range strings.Lines(s.text) {
		lines = append(lines, line)
	}
	lines = lines[from-1:]
	if end := slices.IndexFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "#") }); end >= 0 {
		lines = lines[:end]
	}
	return lines, from
}

// wrong adds a problem at the line of a key of METADATA; at its first line where the
// key is missing.
func (s *source) wrong(problems *Problems, key, format string, args ...any) {
	pattern := regexp.MustCompile(`(^|[\s{,"'])` + regexp.QuoteMeta(key) + `["']?\s*:`)
	lines, from := s.metadataLines()
	at := max(0, slices.IndexFunc(lines, pattern.MatchString))
	problems.add(s.place(), from+at, reasonMetadata, format, args...)
}

// readMetadata turns the package's METADATA into a policy. Everything wrong is
// told, with the line of the key.
func readMetadata(file *source, problems *Problems) engine.Policy {
	resource := strings.Split(file.pkg(), ".")[1]
	p := engine.Policy{Resource: engine.Resource(resource), Package: file.pkg(), File: file.path, Pack: file.pack, Source: file.text}
	note := file.metadata()
	if note == nil {
		problems.add(file.place(), file.line(), reasonMetadata, "no METADATA before the package; it says id, severity, title, description and remedy")
		return p
	}
	wrong := func(key, format string, args ...any) { file.wrong(problems, key, format, args...) }

	// What nobody would read: a key of patrol's that was written beside custom, and misspelt ones below it.
	lines, _ := file.metadataLines()
	for _, line := range lines {
		key, _, found := strings.Cut(strings.TrimPrefix(line, "# "), ":")
		if found && paramPattern.MatchString(key) && !slices.Contains(annotationKeys, key) {
			beside := ""
			if slices.Contains(customKeys, key) {
				beside = "; it belongs under custom"
			}
			wrong(key, "unknown key %s in METADATA%s", key, beside)
		}
	}
	for _, key := range engine.SortedKeys(note.Custom) {
		if !slices.Contains(customKeys, key) {
			wrong(key, "unknown key custom.%s; known are %s", key, strings.Join(customKeys, ", "))
		}
	}
	for _, s := range note.Schemas {
		if s.Path.String() != "input" || s.Schema.String() != "schema."+resource {
			wrong("schemas", "schemas: want [{input: schema.%s}]", resource)
		}
	}

	text := func(key string) string {
		value, given := note.Custom[key]
		text, isText := value.(string)
		if given && !isText {
			wrong(key, "%s: want a string, got %v", key, value)
			return "?"
		}
		return text
	}
	texts := func(key string, value any) (list []string) {
		items, isList := value.([]any)
		if value != nil && !isList {
			wrong(key, "%s: want a list of strings, got %v", key, value)
		}
		for _, item := range items {
			text, isText := item.(string)
			if !isText || strings.TrimSpace(text) == "" {
				wrong(key, "%s: want a list of strings, got %v; quote it", key, item)
				continue
			}
			list = append(list, text)
		}
		return list
	}
	object := func(key, want string) map[string]any {
		value, isObject := note.Custom[key].(map[string]any)
		if note.Custom[key] != nil && !isObject {
			wrong(key, "%s: want a map of %s", key, want)
		}
		return value
	}
	p.Title, p.Description, p.ID = note.Title, note.Description, text("id")
	p.Severity, p.Remedy, p.Remediation, p.Judges = engine.Severity(text("severity")), text("remedy"), text("remediation"), engine.Judges(text("judges"))
	p.Aliases, p.Needs, file.tolerates = texts("aliases", note.Custom["aliases"]), texts("needs", note.Custom["needs"]), texts("tolerates", note.Custom["tolerates"])
	for framework, list := range object("controls", "framework to a list of controls") {
		if p.Controls == nil {
			p.Controls = map[string][]string{}
		}
		p.Controls[framework] = texts(framework, list)
	}
	params := object("params", "name to {default, description, enum, pattern}")
	for _, name := range engine.SortedKeys(params) {
		param, err := readParam(name, params[name])
		if err != nil {
			wrong(name, "parameter %s: %v", name, err)
			continue
		}
		p.Params = append(p.Params, param)
	}

	for _, required := range [][2]string{{"title", p.Title}, {"description", p.Description}, {"id", p.ID}, {"severity", string(p.Severity)}, {"remedy", p.Remedy}} {
		if strings.TrimSpace(required[1]) == "" {
			wrong(required[0], "%s is missing", required[0])
		}
	}
	if p.ID != "" && !idPattern.MatchString(p.ID) {
		wrong("id", "id %q: want letters, digits, dots and dashes", p.ID)
	}
	oneOf := func(key, value string, words []string) {
		if strings.TrimSpace(value) != "" && !slices.Contains(words, value) {
			wrong(key, "%s %q: want one of %s", key, value, strings.Join(words, ", "))
		}
	}
	oneOf("severity", string(p.Severity), words(engine.Severities()))
	oneOf("remedy", p.Remedy, words(remedy.Names()))
	switch {
	case p.Resource == engine.ResourceToken:
		oneOf("judges", string(p.Judges), words([]engine.Judges{engine.JudgesLive, engine.JudgesExpired, engine.JudgesAll}))
		p.Judges = cmp.Or(p.Judges, engine.JudgesLive)
	case p.Judges != "":
		wrong("judges", "judges is for policies on tokens")
	}

	// Characters that act instead of being seen: what METADATA says is printed in terminals, logs, pages and tickets.
	printed := map[string]string{
		"title": p.Title, "description": p.Description, "remediation": p.Remediation, "aliases": strings.Join(p.Aliases, " "), "needs": strings.Join(p.Needs, " "),
	}
	for framework, controls := range p.Controls {
		printed["controls"] += framework + strings.Join(controls, " ")
	}
	for _, param := range p.Params {
		printed[param.Name] = fmt.Sprint(param.Description, param.Default, param.Enum, param.Pattern)
	}
	for key, said := range printed {
		if engine.SafeLines(said) != said {
			wrong(key, "%s holds characters that are not seen, or a command to a pipeline", key)
		}
	}
	return p
}

func words[S ~string](list []S) []string {
	texts := make([]string, len(list))
	for i, word := range list {
		texts[i] = string(word)
	}
	return texts
}

func readParam(name string, value any) (p engine.Param, err error) {
	if !paramPattern.MatchString(name) {
		return p, fmt.Errorf("want a name of small letters, digits and _")
	}
	fields, isObject := value.(map[string]any)
	if !isObject {
		return p, fmt.Errorf("want {default: …, description: …}")
	}
	for _, key := range engine.SortedKeys(fields) {
		if !slices.Contains([]string{"default", "description", "enum", "pattern"}, key) {
			return p, fmt.Errorf("unknown key %s", key)
		}
	}
	description, _ := fields["description"].(string)
	if strings.TrimSpace(description) == "" {
		return p, fmt.Errorf("description is missing")
	}
	if fields["default"] == nil {
		return p, fmt.Errorf("default is missing; without it the policy would be silent")
	}
	standard, err := normal(fields["default"])
	if err != nil {
		return p, fmt.Errorf("default: %w", err)
	}
	p = engine.Param{Name: name, Description: description, Default: standard, Value: standard, Origin: "default"}
	enum, isList := fields["enum"].([]any)
	for _, word := range enum {
		text, isText := word.(string)
		isList = isList && isText
		p.Enum = append(p.Enum, text)
	}
	if fields["enum"] != nil && (!isList || len(enum) == 0) {
		return p, fmt.Errorf("enum: want a list of texts")
	}
	if fields["pattern"] != nil {
		var isText bool
		if p.Pattern, isText = fields["pattern"].(string); !isText {
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
