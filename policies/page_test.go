package policies_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestContractNamesEveryField holds docs/policy-contract.md to the schemas of
// input: no field is missing on the page, none is there that policies do not see.
func TestContractNamesEveryField(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/policy-contract.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]bool{"input": true}
	for _, file := range []string{"token", "workspace", "secret", "waiver"} {
		propertiesOf(schema(t, "schemas/"+file+".json"), fields)
	}
	quoted, named := regexp.MustCompile("`[a-z0-9_.]+`"), map[string]bool{}
	for _, name := range quoted.FindAllString(string(text), -1) {
		for part := range strings.SplitSeq(strings.Trim(name, "`"), ".") {
			named[part] = true
		}
	}
	for name := range fields {
		if !named[name] {
			t.Errorf("docs/policy-contract.md does not name the field %s", name)
		}
	}
	table := false
	for line := range strings.Lines(string(text)) {
		switch first, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|"); {
		case !strings.HasPrefix(line, "|"):
			table = false
		case strings.TrimSpace(first) == "field":
			table = true
		case table:
			for _, name := range quoted.FindAllString(first, -1) {
				for part := range strings.SplitSeq(strings.Trim(name, "`."), ".") {
					if !fields[part] {
						t.Errorf("docs/policy-contract.md names the field %s, which there is not", part)
					}
				}
			}
		}
	}
}

// propertiesOf adds the names of all properties of a schema, at any depth. Keys
// that are a user's or the platform's own, such as labels, are none.
func propertiesOf(node any, names map[string]bool) {
	switch node := node.(type) {
	case map[string]any:
		for key, value := range node {
			if properties, is := value.(map[string]any); is && key == "properties" {
				for name := range properties {
					names[name] = true
				}
			}
			propertiesOf(value, names)
		}
	case []any:
		for _, item := range node {
			propertiesOf(item, names)
		}
	}
}
