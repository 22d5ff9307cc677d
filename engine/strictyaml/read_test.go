package strictyaml

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	Text   string              `yaml:"text"`
	Word   string              `yaml:"word" one_of:"skip,proceed"`
	Count  int                 `yaml:"count" min:"0" max:"100"`
	Share  float64             `yaml:"share"`
	On     *bool               `yaml:"on"`
	IDs    []string            `yaml:"ids"`
	One    []string            `yaml:"one,single"`
	Labels map[string]string   `yaml:"labels"`
	Params map[string]any      `yaml:"params"`
	Below  struct{ A, B int }  `yaml:"below"`
	Rest   map[string][]string `yaml:",rest,single" empty:"yes"`
}

func TestRead(t *testing.T) {
	t.Parallel()
	var got sample
	f := Read("a.yaml", []byte("\ufefftext: 2026-11-30\nword: SKIP\ncount: 7\nids: [0123456789012345678901, 12e5]\none: x\nlabels: &l {a: 1}\nparams: {p: *l, since: 2026-01-01}\n"), &got, false)
	if err := f.Err(); err != nil {
		t.Fatal(err)
	}
	want := sample{Text: "2026-11-30", Word: "skip", Count: 7, IDs: []string{"0123456789012345678901", "12e5"}, One: []string{"x"},
		Labels: map[string]string{"a": "1"}, Params: map[string]any{"p": map[string]any{"a": 1}, "since": "2026-01-01"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if f.Line("ids") != 4 || f.Line("params.since") != 7 || f.Line("params.nothing") != 7 || f.Given("share") {
		t.Errorf("lines: %v", f.lines)
	}
}

// TestReadRefuses wants each mistake with its line, at once.
func TestReadRefuses(t *testing.T) {
	t.Parallel()
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for _, c := range "bcdefghi" {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+", ", 9) + "*" + string(c-1) + "]\n"
	}
	for name, c := range map[string]struct{ text, want string }{
		"a key twice":          {"text: a\ntext: b\n", `y:2: key "text" stands in line 1 already`},
		"a key in two cases":   {"labels:\n  Env: a\n  env: b\n", `y:3: key "env" stands in line 2 already`},
		"a second document":    {"text: a\n---\ntext: b\n", "y:3: a second document: put everything into one, without ---"},
		"a word":               {"word: procede\n", `y:1: word: "procede" is unknown: did you mean proceed?`},
		"too few":              {"\ncount: -1\n", "y:2: count: is -1: want 0 to 100"},
		"no number":            {"count: many\n", `y:1: count: "many": want a whole number`},
		"a zero before":        {"text: a\ncount: 010\n", `y:2: count: "010": begins with 0, which YAML reads as octal: leave the 0 out, or quote what is text`},
		"a zero and a sign":    {"count: -0_10\n", `y:1: count: "-0_10": begins with 0`},
		"a share from zero":    {"share: 010\n", `y:1: share: "010": begins with 0`},
		"a parameter":          {"params:\n  days: 010\n", `y:2: params.days: "010": begins with 0`},
		"a list of parameters": {"params:\n  days:\n    - 1\n    - 08\n", `y:4: params.days: "08": begins with 0`},
		"a fraction":           {"count: 1.5\n", `y:1: count: "1.5": want a whole number`},
		"nothing there":        {"text:\n", "y:1: text: is empty: give a value or leave the key out"},
		"a list of nothing":    {"ids:\n  - a\n  -\n", "y:3: ids[1]: is empty: give a value or leave the key out"},
		"neither yes nor no":   {"on: yes\n", `y:1: on: "yes": want true or false`},
		"unclosed":             {"text: a\nids: [a\n", "y:2: did not find expected ',' or ']'"},
		"a control character":  {"text: a\nword: \x01\n", "y:2: control characters are not allowed"},
		"an alias of itself":   {"params: &a {p: *a}\n", "y:1: params.p"},
		"aliases that grow":    {"params:\n  " + strings.ReplaceAll(bomb, "\n", "\n  "), "grows to more than 500000 values by its aliases"},
		"kilobytes of [":       {"text: a\nids: " + strings.Repeat("[", 4000) + strings.Repeat("]", 4000), "y:2: "},
		"many kilobytes of [":  {"text: a\nids: " + strings.Repeat("[", 40000), "y:2: exceeded max depth"},
		"kilobytes of {":       {"params: " + strings.Repeat("{a: ", 4000) + strings.Repeat("}", 4000), "y:1: "},
		"kilobytes of dashes":  {strings.Repeat("- ", 20000), "y:1: exceeded max depth"},
		"more than is written": {"text: " + strings.Repeat("x", maxBytes), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			var into sample
			err := Read("y", []byte(c.text), &into, false).Err()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	text, err := Schema("sample", sample{}, map[string]any{"more": map[string]any{"type": "string"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"additionalProperties": false`, `"enum": [`, `"maximum": 100`, `"more": {`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
