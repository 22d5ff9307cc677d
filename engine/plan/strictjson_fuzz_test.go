package plan

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

// FuzzDecodeStrict: what the strict decoder takes, encoding/json takes with the
// same value, and it means the same however it is written again.
func FuzzDecodeStrict(f *testing.F) {
	for _, seed := range []string{
		`{"a":1}`, `{"a":1,"a":2}`, `{"a":1,"A":2}`, `{"a":{"b":[1,2.50,1e400,null]}} `, `{} {}`, `[[[[]]]]`, "{\"a\":\"\xff\"}",
		`{"a":9007199254740993}`, `{"\u0061":1,"a":2}`, `{"k":1,"\u212a":2}`, `"\ud800"`, `{"a":1}]`, "", "nul",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var strict, lax any
		if decodeStrict(text, &strict) != nil {
			return
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&lax); err != nil || !json.Valid(text) {
			t.Fatalf("strict takes %q, encoding/json does not: %v", text, err)
		}
		if !reflect.DeepEqual(strict, lax) {
			t.Fatalf("%q is %v and %v", text, strict, lax)
		}
		again, err := json.Marshal(strict)
		if err != nil {
			t.Fatal(err)
		}
		var second any
		if err := decodeStrict(again, &second); err != nil || !reflect.DeepEqual(strict, second) {
			t.Fatalf("%q written again is %q: %v", text, again, err)
		}
	})
}
