package store

import (
	"strings"

	"patrol/engine"
)

// always is the condition that holds for each token, never the one that holds
// for none.
const (
	always = "1"
	never  = "0"
)

// condition writes a condition in SQL. What SQL cannot ask is left out, so that
// the text holds at least where the condition does; exact tells that it holds
// nowhere else. Comparisons with NULL are NULL, which counts as false in the end
// because nothing but IS NOT TRUE turns a truth round.
func (q *siftQuery) condition(c engine.Condition) (text string, exact bool) {
	bound := len(q.args)
	text, exact = q.write(c)
	if text == always || text == never {
		q.args = q.args[:bound] // those of parts that are not in the text
	}
	return text, exact
}

func (q *siftQuery) write(c engine.Condition) (text string, exact bool) {
	switch c := c.(type) {
	case engine.All:
		return q.all(c)
	case engine.Any:
		return q.any(c)
	case engine.Not:
		return q.not(c)
	case engine.Known:
		return q.known(c.Fact)
	case engine.Compare:
		return q.compare(c)
	case engine.In:
		return q.in(c)
	}
	return always, false // texts are tested by Go: SQL knows neither its letters nor its expressions
}

func (q *siftQuery) all(c engine.All) (string, bool) {
	var parts []string
	whole := true
	for _, one := range c {
		text, exact := q.condition(one)
		whole = whole && exact
		if text == never {
			return never, exact
		}
		if text != always {
			parts = append(parts, text)
		}
	}
	return and(parts...), whole
}

func (q *siftQuery) any(c engine.Any) (string, bool) {
	var parts []string
	whole := true
	for _, one := range c {
		text, exact := q.condition(one)
		whole = whole && exact
		if text == always {
			return always, exact
		}
		if text != never {
			parts = append(parts, text)
		}
	}
	switch len(parts) {
	case 0:
		return never, whole
	case 1:
		return parts[0], whole
	}
	return "(" + strings.Join(parts, " OR ") + ")", whole
}

// and joins conditions; those that always hold add nothing.
func and(parts ...string) string {
	var kept []string
	for _, part := range parts {
		if part != always {
			kept = append(kept, part)
		}
	}
	switch len(kept) {
	case 0:
		return always
	case 1:
		return kept[0]
	}
	return "(" + strings.Join(kept, " AND ") + ")"
}

// not can only turn round what is exact.
func (q *siftQuery) not(c engine.Not) (string, bool) {
	text, exact := q.condition(c.Of)
	switch {
	case !exact:
		return always, false
	case text == always:
		return never, true
	case text == never:
		return always, true
	}
	return "(" + text + ") IS NOT TRUE", true
}

// known: a list is there even when it is empty.
func (q *siftQuery) known(f engine.Fact) (string, bool) {
	fact, ok := q.facts[f]
	switch {
	case !ok:
		return always, false
	case fact.kind == listFact:
		return always, true
	}
	return q.use(fact) + " IS NOT NULL", true
}

func (q *siftQuery) use(f factColumn) string {
	q.joins |= f.joins
	return f.sql
}

func (q *siftQuery) compare(c engine.Compare) (string, bool) {
	if text, ok := q.emptiness(c); ok {
		return text, true
	}
	// Constants are bound in the order of the text.
	if !q.writable(c.Left) || !q.writable(c.Right) {
		return always, false
	}
	return q.value(c.Left) + " " + string(c.Op) + " " + q.value(c.Right), true
}

func (q *siftQuery) in(c engine.In) (string, bool) {
	if !q.writable(c.Value) {
		return always, false
	}
	if len(c.List) == 0 {
		return never, true
	}
	value := q.value(c.Value)
	list := make([]string, len(c.List))
	for i, one := range c.List {
		list[i] = q.constant(one)
	}
	return value + " IN (" + strings.Join(list, ", ") + ")", true
}

func (q *siftQuery) writable(v engine.Value) bool {
	switch v := v.(type) {
	case engine.Constant:
		return true
	case engine.Fact:
		fact, ok := q.facts[v]
		return ok && fact.kind != opaqueFact && fact.kind != listFact
	}
	return false
}

func (q *siftQuery) value(v engine.Value) string {
	if fact, ok := v.(engine.Fact); ok {
		return q.use(q.facts[fact])
	}
	return q.constant(v.(engine.Constant))
}

// emptiness is what SQL can ask of the length of a list: an empty one is NULL.
func (q *siftQuery) emptiness(c engine.Compare) (string, bool) {
	call, ok := c.Left.(engine.Call)
	if !ok || call.Function != engine.Count {
		return "", false
	}
	name, _ := call.Args[0].(engine.Fact)
	fact, known := q.facts[name]
	limit, whole := c.Right.(engine.Constant)
	if !known || fact.kind != listFact || !whole {
		return "", false
	}
	switch {
	case c.Op == engine.Greater && limit.Of == int64(0), c.Op == engine.NotEqual && limit.Of == int64(0), c.Op == engine.GreaterOrEqual && limit.Of == int64(1):
		return q.use(fact) + " IS NOT NULL", true
	case c.Op == engine.Equal && limit.Of == int64(0), c.Op == engine.Less && limit.Of == int64(1), c.Op == engine.LessOrEqual && limit.Of == int64(0):
		return q.use(fact) + " IS NULL", true
	}
	return "", false
}
