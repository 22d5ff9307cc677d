package collectors

import (
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"
)

func TestUnquoteKeepsBytes(t *testing.T) {
	t.Parallel()
	for quoted, want := range map[string]string{
		`""`:                       "",
		`"plain"`:                  "plain",
		`"a\u0000b\n\"\\"`:         "a\x00b\n\"\\",
		"\"\xff\xfe\"":             "\xff\xfe",
		"\"a\\n\xff\\u00e9\xfeb\"": "a\n\xff\u00e9\xfeb",
		`"\ud83d\ude00"`:           "😀",
		`"\/\b\f\r\t"`:             "/\b\f\r\t",
	} {
		if got := unquote([]byte(quoted)); got != want {
			t.Errorf("unquote(%q) = %q, want %q", quoted, got, want)
		}
		if got := unquote([]byte(quote(want))); got != want {
			t.Errorf("quote and unquote of %q = %q", want, got)
		}
	}
	for _, half := range []string{`"\ud83d"`, `"\ud83dx"`, `"\ude00\ud83d"`, `"\ud83d\ud83d\ude00"`, `"\ud83d\n\ude00"`} {
		var want string
		if err := json.Unmarshal([]byte(half), &want); err != nil {
			t.Fatal(err)
		}
		if got := unquote([]byte(half)); got != want {
			t.Errorf("unquote(%s) = %q, want %q", half, got, want)
		}
	}
}

func TestParseObjectIsExact(t *testing.T) {
	t.Parallel()
	o, ok := parseObject([]byte(` { "a" : [1,{"b":"]}"}] , "A":"x\"y" ,"a\u0062":null, "n":-1.5e3,"a":2 } `))
	if !ok {
		t.Fatal("no object")
	}
	for key, want := range map[string]string{"A": `"x\"y"`, "ab": "null", "n": "-1.5e3", "a": "2"} {
		if got := string(o.members[key]); got != want {
			t.Errorf("%s = %s, want %s", key, got, want)
		}
	}
	if !slices.Equal(o.twice, []string{"a", "A"}) {
		t.Errorf("twice %v", o.twice)
	}
	for _, other := range []string{"", "[]", "1", `"x"`, "null"} {
		if _, ok := parseObject([]byte(other)); ok {
			t.Errorf("%q is an object", other)
		}
	}
}

// FuzzParseObject holds the splitter against encoding/json.
func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[{}],"c":{"d":"e}"}}`, `{"\u0061":"\\"}`, " {\t\"x\" :\n null } "} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want map[string]json.RawMessage
		if !json.Valid(raw) {
			return
		}
		o, ok := parseObject(raw)
		if json.Unmarshal(raw, &want) != nil || want == nil {
			if ok {
				t.Fatalf("%q is no object", raw)
			}
			return
		}
		if !ok || len(o.members) < len(want) {
			t.Fatalf("%q: %v, want %v", raw, o.members, want)
		}
		if !utf8.Valid(raw) {
			return // encoding/json merges such keys
		}
		for key, value := range want {
			if string(o.members[key]) != string(value) {
				t.Fatalf("%q: %s is %s, want %s", raw, key, o.members[key], value)
			}
		}
	})
}
