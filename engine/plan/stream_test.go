package plan

import (
	"bytes"
	"encoding/json"
	"testing"

	"patrol/engine"
)

// TestWritingStepByStep: the bytes are those of writing the plan at once,
// whatever is empty, and whatever looks like the place of a list.
func TestWritingStepByStep(t *testing.T) {
	t.Parallel()
	trap := `"steps":[] "not_planned":[]` + "\n  \"steps\": []"
	step := engine.Step{ID: trap, Evidence: map[string]any{"steps": []any{}, "<b>": "\u2028"}, Expected: map[string]any{}}
	left := engine.NotPlanned{Policy: trap, Detail: "not_planned"}
	for name, p := range map[string]engine.Plan{
		"zero":  {},
		"empty": {Steps: []engine.Step{}, NotPlanned: []engine.NotPlanned{}},
		"full":  {Planner: trap, Steps: []engine.Step{step, step}, NotPlanned: []engine.NotPlanned{left, left}},
		"steps": {Version: trap, Steps: []engine.Step{step}},
		"left": {
			Workspaces: []engine.PlanWorkspace{{Labels: map[string]string{"steps": trap, trap: "", "not_planned": "[]"}}},
			Protected:  engine.Protected{Tokens: []string{"steps", trap}}, Steps: []engine.Step{}, NotPlanned: []engine.NotPlanned{left},
			Reevaluates: engine.Retuning{"w": {"p": {Params: map[string]any{"steps": []any{}, "not_planned": []any{}}}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			whole := engine.CompactJSON(p)
			var parts bytes.Buffer
			if err := writePlan(&parts, p, compact()); err != nil || !bytes.Equal(parts.Bytes(), whole) {
				t.Errorf("%v\n%s\nwant\n%s", err, parts.Bytes(), whole)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, whole, "", "  "); err != nil {
				t.Fatal(err)
			}
			pretty.WriteByte('\n')
			content := Encode(p)
			if !bytes.Equal(content, pretty.Bytes()) {
				t.Errorf("%s\nwant\n%s", content, pretty.Bytes())
			}
			if !isFileOf(p, content) || isFileOf(p, content[:len(content)-1]) || isFileOf(p, append(content, '\n')) {
				t.Error("does not tell the file from others")
			}
			var read engine.Plan
			if err := decodePlan(content, &read); err != nil || !bytes.Equal(Encode(read), content) {
				t.Errorf("read: %v\n%s", err, Encode(read))
			}
		})
	}
}
