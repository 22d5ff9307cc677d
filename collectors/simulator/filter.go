package simulator

import (
	"errors"
	"fmt"
	"strings"

	filter "github.com/scim2/filter-parser/v2"
)

// parseFilter understands the part of the SCIM filter language that Databricks
// documents: eq, ne, co, sw, ew and pr, joined by and, or, not and parentheses.
// It returns nil for no filter.
func parseFilter(text string) (keep func(obj) bool, err error) {
	if text == "" {
		return nil, nil
	}
	if strings.Count(text, "(") > 100 {
		return nil, errors.New("filter: nested too deeply")
	}
	defer func() { // the library has paths that end so
		if problem := recover(); problem != nil {
			err = fmt.Errorf("filter: %v", problem)
		}
	}()
	expression, err := filter.ParseFilter([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	return condition(expression)
}

func condition(expression filter.Expression) (func(obj) bool, error) {
	switch e := expression.(type) {
	case *filter.LogicalExpression:
		left, err := condition(e.Left)
		if err != nil {
			return nil, err
		}
		right, err := condition(e.Right)
		if err != nil {
			return nil, err
		}
		if e.Operator == filter.AND {
			return func(doc obj) bool { return left(doc) && right(doc) }, nil
		}
		return func(doc obj) bool { return left(doc) || right(doc) }, nil
	case *filter.NotExpression:
		inner, err := condition(e.Expression)
		if err != nil {
			return nil, err
		}
		return func(doc obj) bool { return !inner(doc) }, nil
	case *filter.AttributeExpression:
		return comparison(e)
	}
	return nil, fmt.Errorf("filter: %T is not supported", expression)
}

func comparison(e *filter.AttributeExpression) (func(obj) bool, error) {
	compare := map[filter.CompareOperator]func(have, value string) bool{
		filter.EQ: func(have, value string) bool { return have == value },
		filter.NE: func(have, value string) bool { return have == value },
		filter.CO: strings.Contains, filter.SW: strings.HasPrefix, filter.EW: strings.HasSuffix,
		filter.PR: func(have, _ string) bool { return have != "" },
	}[filter.CompareOperator(strings.ToLower(string(e.Operator)))]
	if compare == nil {
		return nil, fmt.Errorf("filter: operator %q is not supported", e.Operator)
	}
	attribute, value := e.AttributePath.String(), strings.ToLower(fmt.Sprint(e.CompareValue))
	negated := strings.EqualFold(string(e.Operator), string(filter.NE))
	return func(doc obj) bool {
		for _, have := range valuesOf(doc, attribute) {
			if compare(have, value) {
				return !negated
			}
		}
		return negated
	}, nil
}

// valuesOf are the values of an attribute in lower case; those of a list of
// objects are its "value", or the part that is asked for: groups.display.
func valuesOf(doc obj, path string) (values []string) {
	name, part, _ := strings.Cut(path, ".")
	for key, value := range doc {
		if !strings.EqualFold(key, name) {
			continue
		}
		switch v := value.(type) {
		case []obj:
			for _, element := range v {
				if part == "" {
					part = "value"
				}
				values = append(values, valuesOf(element, part)...)
			}
		case obj:
			values = append(values, valuesOf(v, part)...)
		default:
			values = append(values, strings.ToLower(fmt.Sprint(v)))
		}
	}
	return values
}
