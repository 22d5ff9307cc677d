package simulator

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// condition is a parsed SCIM filter.
type condition func(resource) bool

// parseFilter understands the part of the SCIM filter language that Databricks
// documents: eq, ne, co, sw, ew and pr, joined by and, or, not and parentheses.
func parseFilter(text string) (condition, error) {
	words, err := filterWords(text)
	if err != nil {
		return nil, err
	}
	p := &filterParser{words: words}
	keep, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.at < len(p.words) {
		return nil, fmt.Errorf("filter: unexpected %q", p.words[p.at])
	}
	return keep, nil
}

// filterWords splits at blanks and around parentheses; a string keeps its quotes.
func filterWords(text string) ([]string, error) {
	var words []string
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		var n int
		switch text[0] {
		case '(', ')':
			n = 1
		case '"':
			quoted, err := strconv.QuotedPrefix(text)
			if err != nil {
				return nil, errors.New("filter: string is not closed")
			}
			n = len(quoted)
		default:
			if n = strings.IndexAny(text, " ()\""); n < 0 {
				n = len(text)
			}
		}
		words = append(words, text[:n])
		text = text[n:]
	}
	return words, nil
}

type filterParser struct {
	words []string
	at    int
	depth int
}

func (p *filterParser) next() string {
	if p.at == len(p.words) {
		return ""
	}
	p.at++
	return p.words[p.at-1]
}

// accept consumes the word if it comes next.
func (p *filterParser) accept(word string) bool {
	if p.at < len(p.words) && strings.EqualFold(p.words[p.at], word) {
		p.at++
		return true
	}
	return false
}

func (p *filterParser) or() (condition, error) {
	left, err := p.and()
	for err == nil && p.accept("or") {
		var right condition
		if right, err = p.and(); err == nil {
			x := left
			left = func(r resource) bool { return x(r) || right(r) }
		}
	}
	return left, err
}

func (p *filterParser) and() (condition, error) {
	left, err := p.unary()
	for err == nil && p.accept("and") {
		var right condition
		if right, err = p.unary(); err == nil {
			x := left
			left = func(r resource) bool { return x(r) && right(r) }
		}
	}
	return left, err
}

func (p *filterParser) unary() (condition, error) {
	if p.depth++; p.depth > 100 {
		return nil, errors.New("filter: nested too deeply")
	}
	defer func() { p.depth-- }()
	if p.accept("not") {
		inner, err := p.unary()
		return func(r resource) bool { return !inner(r) }, err
	}
	if !p.accept("(") {
		return p.comparison()
	}
	inner, err := p.or()
	if err == nil && !p.accept(")") {
		err = errors.New("filter: missing )")
	}
	return inner, err
}

func (p *filterParser) comparison() (condition, error) {
	attribute, operator := p.next(), strings.ToLower(p.next())
	if attribute == "" || operator == "" {
		return nil, errors.New("filter: expected an attribute and an operator")
	}
	if operator == "pr" {
		return func(r resource) bool { return first(r.attr(attribute)) != "" }, nil
	}
	compare := comparator(operator)
	if compare == nil {
		return nil, fmt.Errorf("filter: operator %q is not supported", operator)
	}
	word := p.next()
	if word == "" {
		return nil, fmt.Errorf("filter: %s %s lacks a value", attribute, operator)
	}
	value := word
	if plain, err := strconv.Unquote(word); err == nil {
		value = plain
	}
	value = strings.ToLower(value)
	matches := func(r resource) bool {
		return slices.ContainsFunc(r.attr(attribute), func(have string) bool { return compare(strings.ToLower(have), value) })
	}
	if operator == "ne" {
		return func(r resource) bool { return !matches(r) }, nil
	}
	return matches, nil
}

func comparator(operator string) func(have, value string) bool {
	switch operator {
	case "eq", "ne":
		return func(have, value string) bool { return have == value }
	case "co":
		return strings.Contains
	case "sw":
		return strings.HasPrefix
	case "ew":
		return strings.HasSuffix
	}
	return nil
}
