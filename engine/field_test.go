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
	numbers, columns, letters := map[uint64]bool{13: true, 14: true}, map[string]bool{}, map[byte]bool{}
	for _, f := range StoredFields() {
		switch {
		case f.Text != nil:
			stored[f.Text(&token)] = true
		case f.Time != nil:
			stored[f.Time(&token)] = true
		default:
			stored[f.Texts(&token)] = true
		}
		if numbers[f.Place] || f.Column != "" && columns[f.Column] {
			t.Errorf("%s: place %d or column %q is taken", f.Name, f.Place, f.Column)
		}
		if (f.Letter == 0) != (f.Answer == "") || f.Letter != 0 && (f.Letter < 'a' || f.Letter > 'z' || letters[f.Letter]) {
			t.Errorf("%s: letter %q is taken, or none", f.Name, f.Letter)
		}
		numbers[f.Place], columns[f.Column], letters[f.Letter] = true, true, true
	}
	value := reflect.ValueOf(&token).Elem()
	for i := range value.NumField() {
		name := value.Type().Field(i).Name
		if name != "Defects" && name != "Raw" && !stored[value.Field(i).Addr().Interface()] {
			t.Errorf("Token.%s is not stored", name)
		}
	}
}
