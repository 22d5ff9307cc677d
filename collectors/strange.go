package collectors

import (
	"strings"

	"patrol/engine"
)

// strange gathers what rows of tokens hold that this patrol does not know: the
// platform has learned something, or the answer comes from somewhere else. The
// rows keep it as it came.
type strange map[string]bool

// mostStrange bounds what is gathered: a row may have any number of fields.
const mostStrange = 50

func (s strange) note(o object, t engine.Token) {
	for key := range o.members {
		if !knownField(key) {
			s.add("field " + key)
		}
	}
	if engine.AutoscopeState(t.AutoscopeState) == nil {
		s.add("autoscope_state " + t.AutoscopeState)
	}
}

func (s strange) add(what string) {
	if len(s) < mostStrange {
		s[engine.SafeText(string(cut([]byte(what))))] = true
	}
}

func knownField(key string) bool {
	switch key {
	case "token_id", "comment", "creation_time", "expiry_time", "last_used_day", "owner_id", "created_by_id", "created_by_username",
		"scopes", "autoscope_state", "inferred_scopes", "backfill_scopes", workspaceIDKey, workspaceNameKey, ownerNameKey, neverUsedKey, ownDefectsKey:
		return true
	}
	return false
}

// tellStrange tells of what nobody was told of in this run.
func (c *Client) tellStrange(s strange) {
	var fresh []string
	for _, what := range engine.SortedKeys(s) {
		if c.o.told.first("strange " + what) {
			fresh = append(fresh, what)
		}
	}
	if len(fresh) == 0 {
		return
	}
	const most = 5
	shown := strings.Join(fresh[:min(len(fresh), most)], ", ")
	if len(fresh) > most {
		shown += ", …"
	}
	c.event(Event{Kind: EventWarning, Reason: "unknown_field",
		Detail: "tokens have what this patrol does not know, and no policy sees: " + shown + "; it is kept as it came. A newer patrol may know it"})
}
