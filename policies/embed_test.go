package policies_test

import (
	"encoding/json"
	"io/fs"
	"path"
	"reflect"
	"strings"
	"testing"

	"patrol/policies"
)

// TestTested holds that no policy is shipped without its test.
func TestTested(t *testing.T) {
	for _, file := range files(t, "*/*.rego") {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		test := strings.TrimSuffix(file, ".rego") + "_test.rego"
		if _, err := fs.Stat(policies.FS, test); err != nil {
			t.Errorf("%s has no test %s", file, path.Base(test))
		}
	}
}

// TestSchemasMerge holds that `opa test policies` loads: it merges all schemas
// into one document of data and refuses a key that two files have, unless both
// values are objects.
func TestSchemasMerge(t *testing.T) {
	merged := map[string]any{}
	for _, file := range files(t, "schemas/*.json") {
		merge(t, merged, schema(t, file), file)
	}
}

// TestSchemasAgree holds that the inputs of all resources describe a workspace
// alike: workspace.json says how, and the others leave it to that file.
func TestSchemasAgree(t *testing.T) {
	workspace := schema(t, "schemas/workspace.json")
	for file, other := range map[string]map[string]any{
		"token.json":  schema(t, "schemas/token.json")["allOf"].([]any)[0].(map[string]any),
		"secret.json": schema(t, "schemas/secret.json")["definitions"].(map[string]any)["secret_input"].(map[string]any),
	} {
		if left, there := property(other, "workspace").(map[string]any); !there || len(left) > 0 {
			t.Errorf("%s says itself what a workspace is: %v", file, left)
		}
		for _, key := range []string{"as_of", "params"} {
			there, inWorkspace := property(other, key), property(workspace, key)
			if there == nil || !reflect.DeepEqual(there, inWorkspace) {
				t.Errorf("%s differs: %v in %s, %v in workspace.json", key, there, file, inWorkspace)
			}
		}
	}
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := fs.Glob(policies.FS, pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("glob %s: %d files, %v", pattern, len(names), err)
	}
	return names
}

func schema(t *testing.T, file string) map[string]any {
	t.Helper()
	text, err := policies.FS.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return document
}

func property(schema map[string]any, key string) any {
	return schema["properties"].(map[string]any)[key]
}

func merge(t *testing.T, into, from map[string]any, at string) {
	t.Helper()
	for key, value := range from {
		old, found := into[key]
		if !found {
			into[key] = value
			continue
		}
		oldObject, ok := old.(map[string]any)
		newObject, ok2 := value.(map[string]any)
		if !ok || !ok2 {
			t.Errorf("%s: key %s stands in another schema as well", at, key)
			continue
		}
		merge(t, oldObject, newObject, at+"/"+key)
	}
}
