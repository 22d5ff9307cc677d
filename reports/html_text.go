package reports

import (
	"iter"

	"patrol/engine"
	"patrol/reports/table"
)

// foreign is text of anybody as the page holds it: what would act is visible.
func foreign(text string) string { return engine.SafeText(text) }

// inertFindings are findings whose evidence is harmless. Of all other text the
// encoder of a cell takes care; evidence it sees encoded only.
func inertFindings(findings iter.Seq2[engine.Finding, error]) iter.Seq2[engine.Finding, error] {
	return func(yield func(engine.Finding, error) bool) {
		for f, err := range findings {
			f.Evidence, _ = inertValue(f.Evidence).(map[string]any)
			if !yield(f, err) {
				return
			}
		}
	}
}

// inertValue makes the text in a JSON value harmless.
func inertValue(value any) any {
	switch v := value.(type) {
	case string:
		return foreign(v)
	case []string:
		return table.Map(v, foreign)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = inertValue(item)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for key, item := range v {
			object[foreign(key)] = inertValue(item)
		}
		return object
	}
	return value
}
