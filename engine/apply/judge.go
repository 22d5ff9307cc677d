package apply

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
)

// judge says what a look means for the step: whether the target is still what
// was approved, for the reason for which it was.
func (it *item) judge(ctx context.Context, l *look) error {
	say := func(s sight, reason, detail string) { l.sight, l.reason, l.detail = s, reason, detail }
	switch {
	case l.seen.Absent && it.remedy.OnToken():
		say(sightGone, reasonAbsent, "")
		return nil
	case l.seen.Absent:
		say(sightDrifted, reasonAbsent, "what the step is about does not exist in this workspace")
		return nil
	case it.remedy.Reached(it.step, l.seen):
		say(sightReached, reasonAlreadySo, "is as the step wants it, and patrol did not do it")
		return nil
	}
	token := l.seen.Token
	if token != nil {
		if reason, detail := it.protection(engine.Subject{Token: *token}); reason != "" {
			say(sightProtected, reason, detail)
			return nil
		}
	}
	if reason, detail := it.drift(l.seen); reason != "" {
		say(sightDrifted, reason, detail)
		return nil
	}
	if reason, detail := it.withdrawn(); reason != "" {
		say(sightDrifted, reason, detail)
		return nil
	}
	if token == nil { // a state that is the same has the same reasons
		switch approved := it.step.Risk.Endangers; {
		case l.stake.Protected != "":
			say(sightProtected, reasonProtected, "it would disable a token that must not be touched: "+l.stake.Protected)
		case l.stake.Tokens > approved:
			say(sightDrifted, reasonEndangers, fmt.Sprintf("it would disable %d live tokens now, and was approved for %d", l.stake.Tokens, approved))
		default:
			say(sightClear, "", "")
		}
		return nil
	}
	if len(it.step.Policies) == 0 {
		say(sightDrifted, reasonNoGrounds, "the step rests on no policy")
		return nil
	}
	if it.usedSince(*token) && (it.job.Plan.OnUse != "proceed" || it.restsOnUse()) {
		say(sightDrifted, reasonUsedSince, "was used since the plan was made")
		return nil
	}
	ruling, err := it.job.Judge.StillFires(ctx, it.step, *token, it.live.Now())
	if err != nil {
		return err
	}
	if !ruling.At.IsZero() && ruling.At.Before(l.at) {
		l.at = ruling.At
	}
	reason, detail := it.protection(ruling.Subject)
	switch {
	case reason != "":
		say(sightProtected, reason, detail)
	case it.protected().ByApplication() && (ruling.Subject.Owner.Kind == "" || ruling.Subject.Creator.Kind == ""):
		say(sightDrifted, reasonUnreadable, "service principals are protected by their application ids, and who owns or made the token could not be read")
	case !ruling.Fires:
		say(sightDrifted, reasonRuleSilent, ruling.Why)
	default:
		say(sightClear, "", "")
	}
	return nil
}

// protected is what the plan protects, and what the configuration does now.
func (it *item) protected() engine.Protected { return it.job.Plan.Protected.With(it.job.Protected) }

// protection tells why a token must not be touched.
func (it *item) protection(s engine.Subject) (reason, detail string) {
	caller := it.live.Caller
	switch {
	case s.Token.ID == caller.TokenID:
		return reasonInUse, "this run signs in with it"
	case (s.Token.OwnerID == caller.ID || s.Token.CreatorID == caller.ID) && !it.job.Options.IncludeSelf:
		return reasonSelf, "belongs to, or was made by, the principal that applies; --include-self revokes such tokens last"
	}
	if why := it.protected().Protects(s); why != "" {
		return reasonProtected, why
	}
	return "", ""
}

// drift compares what is seen with what was approved.
func (it *item) drift(seen engine.Observation) (reason, detail string) {
	if seen.Digest() == it.step.Precondition.Digest {
		return "", ""
	}
	if it.remedy.OnToken() {
		return reasonIdentity, "another token than the one approved: " + changes(it.step.Precondition.Identity, seen.State)
	}
	return reasonValue, "is not what it was when the plan was made: " + changes(it.step.Precondition.Identity, seen.State)
}

// changes names the fields that differ, with their values where they are short.
func changes(planned, seen map[string]any) string {
	var found []string
	for _, key := range engine.SortedKeys(seen) {
		before, after := text(key, planned[key]), text(key, seen[key])
		switch {
		case before == after:
		case len(before)+len(after) > 100:
			found = append(found, key)
		default:
			found = append(found, fmt.Sprintf("%s %s → %s", key, before, after))
		}
	}
	return strings.Join(found, ", ")
}

// text shows a value; one that the API gives in ms since 1970, as a date.
func text(key string, value any) string {
	shown := engine.SafeText(engine.RedactSecrets(string(engine.CompactJSON(value))))
	ms, err := strconv.ParseInt(strings.Trim(shown, `"`), 10, 64)
	if strings.HasSuffix(key, "_time") && err == nil && ms > 0 {
		return time.UnixMilli(ms).UTC().Format(time.RFC3339)
	}
	return shown
}

// withdrawn tells why nothing new may be done about a step that an earlier run
// has begun; "" when it may.
func (it *item) withdrawn() (reason, detail string) {
	switch {
	case it.expired:
		return reasonExpired, "the plan has expired: what was in hand was settled, nothing new was sent"
	case !it.job.Approval.Steps[it.step.ID]:
		return reasonWithdrawn, "its approval does not stand any more"
	}
	return "", ""
}

// usedSince compares days of use. A last use that cannot be told now but could
// then counts as use.
func (it *item) usedSince(t engine.Token) bool {
	planned, known := it.step.Precondition.Volatile["last_used_day"].(string)
	if !known {
		return t.LastUsed != nil || slices.ContainsFunc(t.Defects, func(d engine.Defect) bool { return d.Field == "last_used_day" })
	}
	before, err := strconv.ParseInt(planned, 10, 64)
	return err != nil || t.LastUsed == nil || *t.LastUsed > before
}

// restsOnUse reports whether any policy of the step looked at when the token
// was used: use then is a change of the grounds, whatever the configuration says.
func (it *item) restsOnUse() bool {
	for _, evidence := range it.step.Evidence {
		fields, _ := evidence.(map[string]any)
		for key := range fields {
			switch key {
			case "used", "idle_days", "last_used_at", "token.used", "token.idle_days", "token.last_used_at":
				return true
			}
		}
	}
	return false
}
