package engine

import (
	"reflect"
	"testing"
)

// Each field of a token but its defects and raw row is stored once, under a number and a
// column of its own; 13 and 14 are taken.
func TestStoredFields(t *testing.T) {
	t.Parallel()
	var token Token
	stored := map[any]bool{}
	numbers, columns := map[uint64]bool{13: true, 14: true}, map[string]bool{}
	for _, f := range StoredFields() {
		switch {
		case f.Text != nil:
			stored[f.Text(&token)] = true
		case f.Time != nil:
			stored[f.Time(&token)] = true
		default:
			stored[f.Texts(&token)] = true
		}
		if numbers[f.Number] || f.Column != "" && columns[f.Column] {
			t.Errorf("%s: number %d or column %q is taken", f.Name, f.Number, f.Column)
		}
		numbers[f.Number], columns[f.Column] = true, true
	}
	value := reflect.ValueOf(&token).Elem()
	for i := range value.NumField() {
		name := value.Type().Field(i).Name
		if name != "Defects" && name != "Raw" && !stored[value.Field(i).Addr().Interface()] {
			t.Errorf("Token.%s is not stored", name)
		}
	}
}
