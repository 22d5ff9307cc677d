package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"patrol/engine"
)

// danger is live tokens that a step would take the use from.
type danger struct {
	tokens, recent, guarded int
	owners                  map[string]int
}

func (d *danger) add(owner string, recent, guarded bool) {
	if d.owners == nil {
		d.owners = map[string]int{}
	}
	d.tokens++
	d.owners[owner]++
	if recent {
		d.recent++
	}
	if guarded {
		d.guarded++
	}
}

// risk is that of a step that takes their use.
func (d *danger) risk(days int64, why string) engine.Risk {
	r := engine.Risk{Level: riskHigh, Endangers: d.tokens, EndangersOwners: len(d.owners), EndangersRecent: d.recent}
	for _, n := range d.owners {
		r.EndangersOfOne = max(r.EndangersOfOne, n)
	}
	r.Why = "disables " + r.Disables(days) + ": " + why
	return r
}

// count notes a token for the steps that bear on a whole workspace.
func (b *builder) count(w *workspace, s engine.Subject) {
	if s.Facts.Expired != nil && *s.Facts.Expired {
		return
	}
	recent, guarded := b.recentlyUsed(s), b.in.Config.Protected.Protects(s) != ""
	w.live.add(s.Token.OwnerID, recent, guarded)
	if w.grants != nil && w.grants.endangers(s) {
		w.grants.danger.add(s.Token.OwnerID, recent, guarded)
	}
}

func (b *builder) planWorkspaces() {
	for _, w := range b.order {
		b.planSettings(w)
		b.planGrants(w)
		for _, action := range []engine.Action{engine.Notify, engine.Manual} {
			if hits := hitsOf(w.hits, action); len(hits) > 0 {
				b.steps = append(b.steps, b.peopleStep(w, action, hits))
			}
		}
	}
}

func hitsOf(hits []hit, action engine.Action) []hit {
	return slices.DeleteFunc(slices.Clone(hits), func(h hit) bool { return h.action != action })
}

func (b *builder) peopleStep(w *workspace, action engine.Action, hits []hit) engine.Step {
	step := b.step(w, action, w.Snapshot.Workspace.ID, hits)
	step.Risk.Level, step.Risk.Why = riskLow, "changes nothing"
	return step
}

// Keys that patrol sets. Every other setting is for people: a policy must not
// be able to open a workspace by naming a key.
const (
	keyLifetime = "maxTokenLifetimeDays"
	keyEnabled  = "enableTokensConfig"
)

// planSettings sets the key that a policy declares to need.
func (b *builder) planSettings(w *workspace) {
	byKey := map[string][]hit{}
	for _, h := range hitsOf(w.hits, engine.SetSetting) {
		key, why := settableKey(b.policies[h.finding.Policy])
		if why != "" {
			b.skip(h, "no_remedy", why)
			continue
		}
		byKey[key] = append(byKey[key], h)
	}
	for _, key := range engine.SortedKeys(byKey) {
		b.planSetting(w, key, byKey[key])
	}
}

// settableKey is the one key among the policy's needs that patrol can set.
func settableKey(p engine.Policy) (key, why string) {
	for _, need := range p.Needs {
		name, isKey := strings.CutPrefix(need, string(engine.SectionSettings)+".")
		if !isKey || name != keyLifetime && name != keyEnabled {
			continue
		}
		if key != "" {
			return "", "the policy needs several settings: which to set is not clear"
		}
		key = name
	}
	if key == "" {
		return "", "the policy needs no setting that patrol can set (" + keyLifetime + ", " + keyEnabled + ")"
	}
	return key, ""
}

func (b *builder) planSetting(w *workspace, key string, hits []hit) {
	setting, read := w.Settings[key]
	if coverage := w.Snapshot.Coverage[engine.SectionSettings]; !coverage.Complete() {
		b.skipAll(hits, "coverage", "the workspace's settings were not read whole: "+string(coverage.Status))
		return
	}
	if !read || setting.Problem != "" {
		b.skipAll(hits, "coverage", "setting "+key+" was not read")
		return
	}
	if v := setting.Value; v != nil && engine.RedactSecrets(*v) != *v {
		b.skipAll(hits, "no_remedy", "the value of "+key+" looks like a secret, which a plan must not tell: set it by hand")
		return
	}
	value, why := b.settingValue(w, key, hits)
	if why != "" {
		b.skipAll(hits, "no_remedy", why)
		return
	}
	if key == keyEnabled && w.live.guarded > 0 {
		b.skipAll(hits, "protected", fmt.Sprintf("it would disable %d protected tokens", w.live.guarded))
		return
	}
	step := b.step(w, engine.SetSetting, key, hits)
	state := engine.SettingState(key, setting.Value)
	step.Precondition = engine.Precondition{Identity: state, Digest: engine.Fingerprint(state)}
	step.Expected = map[string]any{"value": value}
	step.Risk = engine.Risk{Level: riskLow, Why: "holds for new tokens only"}
	if key == keyEnabled {
		step.Risk = w.live.risk(b.in.Config.Limits.RecentlyUsedDays, "every integration that signs in with one stops working")
	}
	step.Critical = step.Risk.Level == riskHigh
	b.steps = append(b.steps, step)
}

// settingValue is the value to set; of several policies the strictest.
func (b *builder) settingValue(w *workspace, key string, hits []hit) (value, why string) {
	if key == keyEnabled {
		return "false", ""
	}
	days := engine.PlatformMaxLifetimeDays + 1
	for _, h := range hits {
		text := fmt.Sprint(b.param(w, h.finding.Policy, "max_lifetime_days"))
		limit, err := strconv.ParseInt(text, 10, 64)
		if err != nil || limit < 1 || limit > engine.PlatformMaxLifetimeDays {
			return "", fmt.Sprintf("parameter max_lifetime_days of %s is %s: want a number of days from 1 to %d", h.finding.Policy, text, engine.PlatformMaxLifetimeDays)
		}
		days = min(days, limit)
	}
	return strconv.FormatInt(days, 10), ""
}
