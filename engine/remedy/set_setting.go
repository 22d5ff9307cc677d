package remedy

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"patrol/engine"
)

const settingsPath = "/api/2.0/workspace-conf"

// SetSetting writes one key of a workspace's configuration.
func (set set) SetSetting() engine.Remedy {
	return engine.Remedy{
		Name: engine.SetSetting, Undoable: true,
		Doc:  "Writes one key of the workspace's configuration. An undo writes the value back; a key that was never set cannot be unset.",
		Sent: "PATCH " + settingsPath,
		Read: readSetting,
		Do: func(ctx context.Context, c engine.Client, s engine.Step, _ engine.Observation) (engine.Receipt, error) {
			value, given := s.Expected["value"].(string)
			if !given {
				return engine.Receipt{}, &engine.Fault{Kind: engine.FaultRejected, Detail: "the step does not say which value it wants"}
			}
			return act(ctx, c, s, http.MethodPatch, settingsPath, engine.CompactJSON(map[string]string{s.Target: value}), accepted)
		},
		Reached: func(s engine.Step, seen engine.Observation) bool {
			want, given := s.Expected["value"].(string)
			return given && seen.State["value"] == want
		},
	}
}

var (
	errNoKey   = errors.New("the answer lacks the key")
	errNotText = errors.New("the value is neither text nor null")
)

func readSetting(ctx context.Context, c engine.Client, s engine.Step) (engine.Observation, error) {
	target := settingsPath + "?" + url.Values{"keys": {s.Target}}.Encode()
	r, absent, err := get(ctx, c, s, target)
	if err != nil || absent {
		return engine.Observation{Absent: absent, HTTP: r.Status}, err
	}
	value, err := settingValue(r.Body, s.Target)
	if err != nil {
		return engine.Observation{}, unreadable("GET "+settingsPath, err)
	}
	return engine.Observation{
		State: engine.SettingState(s.Target, value), HTTP: r.Status,
		Prior: engine.CompactJSON(map[string]any{"value": value}),
	}, nil
}

func settingValue(body []byte, key string) (*string, error) {
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	raw, given := answer[key]
	switch value := raw.(type) {
	case string:
		return &value, nil
	case nil:
		if !given {
			return nil, errNoKey
		}
		return nil, nil
	}
	return nil, errNotText
}

// accepted is what the API answers to a change: nothing at all, or an object.
func accepted(r engine.Response) bool { return len(r.Body) == 0 || object(r) }
