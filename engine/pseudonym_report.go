package engine

import (
	"encoding/json"
	"reflect"
	"time"
)

// Pseudonymised is a copy of any value with pseudonyms in all its texts: every
// output is made of such copies, so that no field of theirs can be forgotten.
// Without pseudonyms it is the value itself. A tag tells of a field what its
// type does not:
//
//	names:"person"   a person, or the id of one: replaced whole
//	names:"written"  free text by people
//	names:"drop"     raw answers, which outputs do not show
func Pseudonymised[T any](p *Pseudonyms, value T) T {
	if p == nil {
		return value
	}
	return p.value(reflect.ValueOf(&value).Elem(), "").Interface().(T)
}

func (p *Pseudonyms) value(v reflect.Value, tag string) reflect.Value {
	changed := reflect.New(v.Type()).Elem()
	changed.Set(v)
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() { // other types are words of our own: a status, a severity
			changed.SetString(p.text(v.String(), tag))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			changed.Set(reflect.New(v.Type().Elem()))
			changed.Elem().Set(p.value(v.Elem(), tag))
		}
	case reflect.Interface:
		if !v.IsNil() {
			changed.Set(p.value(v.Elem(), tag))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return v
		}
		p.fields(changed)
	case reflect.Slice, reflect.Array:
		if raw, ok := v.Interface().(json.RawMessage); ok {
			return reflect.ValueOf(p.document(raw))
		}
		if v.Kind() == reflect.Slice && !v.IsNil() {
			changed.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		}
		for i := range v.Len() {
			changed.Index(i).Set(p.value(v.Index(i), tag))
		}
	case reflect.Map:
		if !v.IsNil() {
			changed.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		}
		for entries := v.MapRange(); entries.Next(); {
			changed.SetMapIndex(p.value(entries.Key(), tag), p.value(entries.Value(), tag))
		}
	}
	return changed
}

func (p *Pseudonyms) text(text, tag string) string {
	switch tag {
	case "person":
		return p.Name(text)
	case "written":
		return p.Written(text)
	}
	return p.Text(text)
}

// fields changes the fields of a struct in place. Whether some names are those
// of people depends on what they are the names of.
func (p *Pseudonyms) fields(v reflect.Value) {
	person := map[string]bool{}
	switch of := v.Interface().(type) {
	case Party:
		person["Name"] = of.Kind != ServicePrincipal
		person["DisplayName"] = person["Name"]
	case AccountParty:
		person["Name"] = of.Kind != ServicePrincipal
	case Principal:
		person["Name"] = of.Kind != ServicePrincipal
		person["DisplayName"] = person["Name"]
	case Grant:
		person["Principal"] = of.Kind == string(User)
	case Policy: // text of its author; parameters may list whom it approves of
		v.FieldByName("Params").Set(p.value(v.FieldByName("Params"), ""))
		return
	}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		tag := field.Tag.Get("names")
		switch {
		case !field.IsExported():
		case tag == "drop":
			v.Field(i).SetZero()
		case person[field.Name]:
			v.Field(i).Set(p.value(v.Field(i), "person"))
		default:
			v.Field(i).Set(p.value(v.Field(i), tag))
		}
	}
}

// document changes the texts of JSON. What is none is left out.
func (p *Pseudonyms) document(raw json.RawMessage) json.RawMessage {
	var value any
	if len(raw) == 0 || json.Unmarshal(raw, &value) != nil {
		return nil
	}
	return CompactJSON(mapTexts(value, p.Text))
}

// Pseudonymised is the report with pseudonyms, its findings and tokens
// included. Of the documents of its snapshots it keeps the list of the
// account's workspaces, which names nobody.
func (r Report) Pseudonymised(p *Pseudonyms) Report {
	if p == nil {
		return r
	}
	findings, tokens := r.Findings, r.Tokens
	r = Pseudonymised(p, r)
	for i, w := range r.Workspaces {
		if list := w.Snapshot.Documents[SectionAccount]; list != nil {
			r.Workspaces[i].Snapshot.Documents = map[SectionName]json.RawMessage{SectionAccount: list}
			continue
		}
		r.Workspaces[i].Snapshot.Documents = nil
	}
	r.Findings = mapEach(findings, func(f Finding) Finding { return Pseudonymised(p, f) })
	r.Tokens = mapEach(tokens, func(t TokenRow) TokenRow { return Pseudonymised(p, t) })
	return r
}
