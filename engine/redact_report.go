package engine

import (
	"fmt"
	"iter"
	"slices"
)

// Redacted is the report as people may see it: without the secrets that others
// wrote into comments. The store keeps comments as they are, because policies
// judge them again.
func (r Report) Redacted() Report {
	if r.redacted {
		return r
	}
	r.redacted = true
	r.WhatIf = RedactSecrets(r.WhatIf)
	r.Findings = mapEach(r.Findings, Finding.Redacted)
	r.Workspaces = slices.Clone(r.Workspaces)
	for i, w := range r.Workspaces {
		r.Workspaces[i].Settings = w.Settings.redacted()
	}
	r.Tokens = mapEach(r.Tokens, TokenRow.Redacted)
	if r.Trend != nil {
		r.Trend = r.Trend.redacted()
	}
	return r
}

// Redacted is the finding without secrets: a policy may quote a comment.
func (f Finding) Redacted() Finding {
	f.Message = RedactSecrets(f.Message)
	f.Evidence, _ = redactedKeys(mapTexts(f.Evidence, RedactSecrets)).(map[string]any)
	if f.Token != nil {
		token := *f.Token
		token.Comment = RedactSecrets(token.Comment)
		f.Token = &token
	}
	return f
}

// redactedKeys takes secrets out of the keys of a JSON value: a policy may build
// an object whose keys come from a comment. Keys that become alike are numbered,
// so that nothing goes missing.
func redactedKeys(value any) any {
	switch v := value.(type) {
	case []any:
		for i, element := range v {
			v[i] = redactedKeys(element)
		}
	case map[string]any:
		for _, key := range SortedKeys(v) {
			element := redactedKeys(v[key])
			delete(v, key)
			v[freeKey(v, RedactSecrets(key))] = element
		}
	}
	return value
}

func freeKey(taken map[string]any, key string) string {
	free := key
	for n := 2; ; n++ {
		if _, is := taken[free]; !is {
			return free
		}
		free = fmt.Sprintf("%s (%d)", key, n)
	}
}

func (t Trend) redacted() *Trend {
	t.New = slices.Clone(t.New)
	for i, f := range t.New {
		t.New[i] = f.Redacted()
	}
	return &t
}

// Redacted is the row without secrets.
func (t TokenRow) Redacted() TokenRow {
	t.Token.Comment = RedactSecrets(t.Token.Comment)
	t.Token.Defects = slices.Clone(t.Token.Defects)
	for i, d := range t.Token.Defects {
		t.Token.Defects[i].Value = RedactSecrets(d.Value)
	}
	return t
}

// redacted are the settings without secrets in their values.
func (s Settings) redacted() Settings {
	if s == nil {
		return nil
	}
	shown := make(Settings, len(s))
	for key, setting := range s {
		if setting.Value != nil {
			value := RedactSecrets(*setting.Value)
			setting.Value = &value
		}
		setting.Detail = RedactSecrets(setting.Detail)
		shown[key] = setting
	}
	return shown
}

func mapEach[T any](rows iter.Seq2[T, error], change func(T) T) iter.Seq2[T, error] {
	if rows == nil {
		return nil
	}
	return func(yield func(T, error) bool) {
		for row, err := range rows {
			if !yield(change(row), err) {
				return
			}
		}
	}
}

// mapTexts changes the texts of a JSON value, and leaves the original as it is.
func mapTexts(value any, change func(string) string) any {
	switch v := value.(type) {
	case string:
		return change(v)
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			list[i] = mapTexts(element, change)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for key, element := range v {
			object[key] = mapTexts(element, change)
		}
		return object
	}
	return value
}
