package engine

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// Predicate makes a function of a condition, for the tokens of one instant (ms).
// What it cannot ask it leaves out, so that the function is true at least where
// the condition holds; exact tells that it is true nowhere else. Facts that are
// unknown count as absent: who asks looks for them first.
func Predicate(c Condition, asOf int64) (holds func(*Subject) bool, exact bool) {
	b := predicates{asOf}
	return b.condition(c)
}

// predicates builds functions of conditions.
type predicates struct{ asOf int64 }

type predicate = func(*Subject) bool

func always(*Subject) bool { return true }

func (b predicates) condition(c Condition) (predicate, bool) {
	switch c := c.(type) {
	case All:
		return b.all(c)
	case Any:
		return b.any(c)
	case Not:
		return b.not(c)
	case Known:
		return b.known(c.Fact)
	case Compare:
		return b.compare(c)
	case In:
		return b.in(c)
	case Test:
		return b.test(c)
	}
	return always, false
}

func (b predicates) parts(list []Condition) (parts []predicate, exact bool) {
	exact = true
	for _, c := range list {
		part, whole := b.condition(c)
		parts, exact = append(parts, part), exact && whole
	}
	return parts, exact
}

func (b predicates) all(list All) (predicate, bool) {
	parts, exact := b.parts(list)
	if len(parts) == 1 {
		return parts[0], exact
	}
	return func(s *Subject) bool {
		for _, part := range parts {
			if !part(s) {
				return false
			}
		}
		return true
	}, exact
}

func (b predicates) any(list Any) (predicate, bool) {
	parts, exact := b.parts(list)
	if len(parts) == 1 {
		return parts[0], exact
	}
	return func(s *Subject) bool {
		for _, part := range parts {
			if part(s) {
				return true
			}
		}
		return false
	}, exact
}

func (b predicates) not(c Not) (predicate, bool) {
	inner, exact := b.condition(c.Of)
	if !exact {
		return always, false
	}
	return func(s *Subject) bool { return !inner(s) }, true
}

func (b predicates) known(name Fact) (predicate, bool) {
	r, ok := readFact(name, b.asOf)
	switch {
	case !ok:
		return b.dated(name)
	case r.number != nil:
		return func(s *Subject) bool { return r.number(s) != nil }, true
	case r.truth != nil:
		return func(s *Subject) bool { return r.truth(s) != nil }, true
	case r.text != nil:
		return func(s *Subject) bool { _, absent := r.text(s); return !absent }, true
	}
	return always, true // a list is there even when it is empty
}

// dated is for times in words, which conditions do not compare.
func (b predicates) dated(name Fact) (predicate, bool) {
	switch name {
	case "created_at", "expires_at", "last_used_at":
		return b.known(Fact(strings.TrimSuffix(string(name), "_at") + "_ms"))
	}
	return always, false
}

func (b predicates) compare(c Compare) (predicate, bool) {
	for _, try := range []func(Compare) (predicate, bool){b.numbers, b.truths, b.texts} {
		if p, ok := try(c); ok {
			return p, true
		}
	}
	return always, false
}

func (b predicates) numbers(c Compare) (predicate, bool) {
	left, lok := b.number(c.Left)
	right, rok := b.number(c.Right)
	if !lok || !rok {
		return nil, false
	}
	holds := holding(c.Op)
	return func(s *Subject) bool {
		l, ok := left(s)
		if !ok {
			return false
		}
		r, ok := right(s)
		return ok && holds(l.compare(r))
	}, true
}

// quantity is a whole number, or a fraction where it has one.
type quantity struct {
	whole    int64
	fraction float64
	broken   bool
}

// compare is exact: fractions are below 2^53, and whole numbers beyond that lie
// on either side of all of them.
func (q quantity) compare(r quantity) int {
	if !q.broken && !r.broken {
		return cmp.Compare(q.whole, r.whole)
	}
	return cmp.Compare(q.float(), r.float())
}

func (q quantity) float() float64 {
	if q.broken {
		return q.fraction
	}
	return float64(q.whole)
}

func (b predicates) number(v Value) (func(*Subject) (quantity, bool), bool) {
	switch v := v.(type) {
	case Constant:
		switch n := v.Of.(type) {
		case int64:
			return func(*Subject) (quantity, bool) { return quantity{whole: n}, true }, true
		case float64:
			return func(*Subject) (quantity, bool) { return quantity{fraction: n, broken: true}, true }, true
		}
	case Fact:
		if r, ok := readFact(v, b.asOf); ok && r.number != nil {
			return func(s *Subject) (q quantity, ok bool) {
				n := r.number(s)
				if n == nil {
					return q, false
				}
				return quantity{whole: *n}, true
			}, true
		}
	case Call:
		return b.count(v)
	}
	return nil, false
}

func (b predicates) count(c Call) (func(*Subject) (quantity, bool), bool) {
	name, ok := c.Args[0].(Fact)
	if !ok || c.Function != Count {
		return nil, false
	}
	r, ok := readFact(name, b.asOf)
	if !ok || r.list == nil {
		return nil, false
	}
	return func(s *Subject) (quantity, bool) { return quantity{whole: int64(len(r.list(s)))}, true }, true
}

func (b predicates) truths(c Compare) (predicate, bool) {
	left, lok := b.truth(c.Left)
	right, rok := b.truth(c.Right)
	if !lok || !rok || c.Op != Equal && c.Op != NotEqual {
		return nil, false
	}
	return func(s *Subject) bool {
		l, r := left(s), right(s)
		return l != nil && r != nil && (*l == *r) == (c.Op == Equal)
	}, true
}

func (b predicates) truth(v Value) (func(*Subject) *bool, bool) {
	switch v := v.(type) {
	case Constant:
		if t, ok := v.Of.(bool); ok {
			return func(*Subject) *bool { return &t }, true
		}
	case Fact:
		if r, ok := readFact(v, b.asOf); ok && r.truth != nil {
			return r.truth, true
		}
	}
	return nil, false
}

func (b predicates) texts(c Compare) (predicate, bool) {
	left, lok := b.text(c.Left)
	right, rok := b.text(c.Right)
	if !lok || !rok {
		return nil, false
	}
	holds := holding(c.Op)
	return func(s *Subject) bool {
		l, labsent := left(s)
		r, rabsent := right(s)
		return !labsent && !rabsent && holds(cmp.Compare(l, r))
	}, true
}

func (b predicates) text(v Value) (func(*Subject) (string, bool), bool) {
	switch v := v.(type) {
	case Constant:
		if text, ok := v.Of.(string); ok {
			return func(*Subject) (string, bool) { return text, false }, true
		}
	case Fact:
		if r, ok := readFact(v, b.asOf); ok && r.text != nil {
			return r.text, true
		}
	case Call:
		return b.changed(v)
	}
	return nil, false
}

func (b predicates) changed(c Call) (func(*Subject) (string, bool), bool) {
	change := map[Function]func(string) string{Lower: strings.ToLower, Upper: strings.ToUpper, TrimSpace: strings.TrimSpace}[c.Function]
	inner, ok := b.text(c.Args[0])
	if !ok || change == nil {
		return nil, false
	}
	return func(s *Subject) (string, bool) {
		text, absent := inner(s)
		if absent {
			return "", true
		}
		return change(text), false
	}, true
}

func holding(op Comparison) func(int) bool {
	switch op {
	case Equal:
		return func(c int) bool { return c == 0 }
	case NotEqual:
		return func(c int) bool { return c != 0 }
	case Less:
		return func(c int) bool { return c < 0 }
	case LessOrEqual:
		return func(c int) bool { return c <= 0 }
	case Greater:
		return func(c int) bool { return c > 0 }
	}
	return func(c int) bool { return c >= 0 }
}

func (b predicates) in(c In) (predicate, bool) {
	var parts []predicate
	if text, ok := b.text(c.Value); ok {
		return inTexts(text, c.List), true
	}
	for _, one := range c.List {
		part, exact := b.compare(Compare{Equal, c.Value, one})
		if !exact {
			return always, false
		}
		parts = append(parts, part)
	}
	return func(s *Subject) bool {
		return slices.ContainsFunc(parts, func(part predicate) bool { return part(s) })
	}, true
}

func inTexts(text func(*Subject) (string, bool), list []Constant) predicate {
	set := make(map[string]bool, len(list))
	for _, one := range list {
		if known, ok := one.Of.(string); ok {
			set[known] = true
		}
	}
	return func(s *Subject) bool {
		value, absent := text(s)
		return !absent && set[value]
	}
}

func (b predicates) test(c Test) (predicate, bool) {
	text, ok := b.text(c.Args[0])
	constant, isConstant := c.Args[1].(Constant)
	pattern, isText := constant.Of.(string)
	if !ok || !isConstant || !isText {
		return always, false
	}
	test := tester(c.Function, pattern)
	if test == nil {
		return always, false
	}
	return func(s *Subject) bool {
		value, absent := text(s)
		return !absent && test(value)
	}, true
}

func tester(f Function, pattern string) func(string) bool {
	switch f {
	case StartsWith:
		return func(text string) bool { return strings.HasPrefix(text, pattern) }
	case EndsWith:
		return func(text string) bool { return strings.HasSuffix(text, pattern) }
	case Contains:
		return func(text string) bool { return strings.Contains(text, pattern) }
	case Matches:
		expression, err := regexp.Compile(pattern)
		if err != nil {
			return nil
		}
		return expression.MatchString
	}
	return nil
}
