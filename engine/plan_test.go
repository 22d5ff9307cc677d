package engine_test

import (
	"encoding/json"
	"testing"

	"patrol/engine"
)

func TestFingerprintSurvivesAFile(t *testing.T) {
	t.Parallel()
	used := int64(1)
	token := engine.Token{ID: "t", OwnerID: "9007199254740993", Created: &used, Scopes: []string{"sql"}}
	value := "90"
	for name, state := range map[string]map[string]any{
		"token":   engine.TokenIdentity("1", token),
		"setting": engine.SettingState("k", &value),
		"unset":   engine.SettingState("k", nil),
		"grants":  engine.GrantsState(engine.Grants{{Principal: "users", Kind: "group", Level: "CAN_USE"}, {Principal: "admins", Kind: "group", Level: "CAN_MANAGE", Inherited: true, InheritedFrom: "/x"}}),
	} {
		t.Run(name, func(t *testing.T) {
			var read map[string]any
			if err := json.Unmarshal(engine.CompactJSON(state), &read); err != nil {
				t.Fatal(err)
			}
			if engine.Fingerprint(read) != engine.Fingerprint(state) {
				t.Error("differs after a round through a file")
			}
		})
	}
}
