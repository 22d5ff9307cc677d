package remedy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"patrol/engine"
)

const settingsPath = "/api/2.0/workspace-conf"

// Keys that patrol sets. Every other setting is for people: a policy must not
// be able to open a workspace by naming a key.
const (
	keyLifetime = "maxTokenLifetimeDays"
	keyEnabled  = "enableTokensConfig"
)

// SetSetting writes one key of a workspace's configuration.
func (set set) SetSetting() Remedy {
	return Remedy{
		Name: engine.SetSetting, Rank: 5, For: []engine.Resource{engine.ResourceWorkspace}, Section: engine.SectionSettings,
		Doc:       "Writes one key of the workspace's configuration. An undo writes the value back; a key that was never set cannot be unset.",
		Sent:      "PATCH " + settingsPath,
		Workspace: settings,
		Endangers: func(s engine.Step) func(engine.Subject) bool {
			if !DisablesTokens(s) {
				return nil
			}
			return func(engine.Subject) bool { return true }
		},
		Effect: func(s engine.Step) string {
			return textOf(s.Precondition.Identity["value"], "not set") + " → " + textOf(s.Expected["value"], "not set")
		},
		CLI: func(s engine.Step, profile string) string {
			return "databricks workspace-conf set-status" + profile + " --json " + ShellQuote(ASCII(map[string]any{s.Target: s.Expected["value"]}))
		},
		HCL:  settingsHCL,
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
		Undo: undoSetting,
	}
}

// DisablesTokens holds for the step that switches all tokens off.
func DisablesTokens(s engine.Step) bool {
	value, _ := s.Expected["value"].(string)
	return s.Action == engine.SetSetting && s.Target == keyEnabled && strings.EqualFold(value, "false")
}

// settings proposes to set the keys that policies declare to need: each to what the
// strictest of them asks for.
func settings(site Site, findings []engine.Finding) (changes []Change, refusals []Refusal) {
	byKey := map[string][]engine.Finding{}
	for _, f := range findings {
		var keys []string
		for _, need := range site.Policy(f.Policy).Needs {
			if key, isKey := strings.CutPrefix(need, string(engine.SectionSettings)+"."); isKey && (key == keyLifetime || key == keyEnabled) {
				keys = append(keys, key)
			}
		}
		switch len(keys) {
		case 0:
			refusals = append(refusals, Refusal{f, "no_remedy", "the policy needs no setting that patrol can set (" + keyLifetime + ", " + keyEnabled + ")"})
		case 1:
			byKey[keys[0]] = append(byKey[keys[0]], f)
		default:
			refusals = append(refusals, Refusal{f, "no_remedy", "the policy needs several settings: which to set is not clear"})
		}
	}
	for _, key := range engine.SortedKeys(byKey) {
		cannot := func(reason, detail string) { refusals = append(refusals, refuse(byKey[key], reason, detail)...) }
		setting, read := site.Settings[key]
		if !read || setting.Problem != "" {
			cannot("coverage", "setting "+key+" was not read")
			continue
		}
		if v := setting.Value; v != nil && engine.RedactSecrets(*v) != *v {
			cannot("no_remedy", "the value of "+key+" looks like a secret, which a plan must not tell: set it by hand")
			continue
		}
		value, wrong := "false", ""
		if key == keyLifetime {
			days := engine.PlatformMaxLifetimeDays
			for _, f := range byKey[key] {
				text := fmt.Sprint(site.Param(f.Policy, "max_lifetime_days"))
				limit, err := strconv.ParseInt(text, 10, 64)
				if err != nil || limit < 1 || limit > engine.PlatformMaxLifetimeDays {
					wrong = fmt.Sprintf("parameter max_lifetime_days of %s is %s: want a number of days from 1 to %d", f.Policy, text, engine.PlatformMaxLifetimeDays)
					break
				}
				days = min(days, limit)
			}
			value = strconv.FormatInt(days, 10)
		}
		if wrong != "" {
			cannot("no_remedy", wrong)
			continue
		}
		changes = append(changes, Change{
			Findings: byKey[key], Target: key, Identity: engine.SettingState(key, setting.Value), Expected: map[string]any{"value": value},
			Safe: engine.Risk{Level: Low, Why: "holds for new tokens only"}, Why: "every integration that signs in with one stops working",
		})
	}
	return changes, refusals
}

// undoSetting restores a value. No call unsets a key; where the platform has a
// value that means the same, that is written.
func undoSetting(s engine.Step, prior map[string]any) (identity, expected map[string]any, why string) {
	value, set := prior["value"].(string)
	if !set {
		if value, set = map[string]string{keyLifetime: "0", keyEnabled: "true"}[s.Target]; !set {
			return nil, nil, "the key was never set before, and no call unsets one"
		}
	}
	now, _ := s.Expected["value"].(string)
	return engine.SettingState(s.Target, &now), map[string]any{"value": value}, ""
}

func settingsHCL(b *strings.Builder, steps []engine.Step, workspace string) {
	fmt.Fprintf(b, "\nresource \"databricks_workspace_conf\" %s {\n  provider = databricks.%s\n  custom_config = {\n", HCLQuote(workspace), workspace)
	for _, s := range steps {
		Comment(b, "    ", "%s %s, not before %s: %s", s.ID, strings.Join(s.Policies, ", "), s.NotBefore, s.Risk.Why)
		mark := ""
		if s.Critical {
			Comment(b, "    ", "CRITICAL: remove the # when you are sure.")
			mark = "# "
		}
		fmt.Fprintf(b, "    %s%s = %s\n", mark, HCLQuote(s.Target), HCLQuote(fmt.Sprint(s.Expected["value"])))
	}
	b.WriteString("  }\n}\n")
}

func readSetting(ctx context.Context, c engine.Client, s engine.Step) (engine.Observation, error) {
	target := settingsPath + "?" + url.Values{"keys": {s.Target}}.Encode()
	return readState(ctx, c, s, target, func(body []byte) (state, prior map[string]any, err error) {
		var answer map[string]any
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil, nil, err
		}
		switch value := answer[s.Target].(type) {
		case string:
			return engine.SettingState(s.Target, &value), map[string]any{"value": &value}, nil
		case nil:
			if _, given := answer[s.Target]; !given {
				return nil, nil, errors.New("the answer lacks the key")
			}
			return engine.SettingState(s.Target, nil), map[string]any{"value": nil}, nil
		}
		return nil, nil, errors.New("the value is neither text nor null")
	})
}

// accepted is what the API answers to a change: nothing at all, or an object.
func accepted(r engine.Response) bool { return len(r.Body) == 0 || object(r) }
