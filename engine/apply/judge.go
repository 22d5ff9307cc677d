package apply

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"patrol/engine"
)

// judge says what an observation means for the step: whether the target is
// still what was approved, for the reason for which it was.
func (it *item) judge(ctx context.Context, seen engine.Observation) (s sight, reason, detail string, err error) {
	switch {
	case seen.Absent && it.remedy.OfToken:
		return sightGone, reasonAbsent, "", nil
	case seen.Absent:
		return sightDrifted, reasonAbsent, "what the step is about does not exist in this workspace", nil
	case it.remedy.Reached(it.step, seen):
		return sightReached, reasonAlreadySo, "is as the step wants it, and patrol did not do it", nil
	}
	if reason, detail := it.protection(seen.Token); reason != "" {
		return sightProtected, reason, detail, nil
	}
	if reason, detail := it.drift(seen); reason != "" {
		return sightDrifted, reason, detail, nil
	}
	if reason, detail := it.withdrawn(); reason != "" {
		return sightDrifted, reason, detail, nil
	}
	return it.rules(ctx, seen.Token)
}

// protection tells why a token must not be touched. Only ids count: names and
// comments are anybody's to choose.
func (it *item) protection(t *engine.Token) (reason, detail string) {
	if t == nil {
		return "", ""
	}
	caller := it.live.Caller
	tokens := append(slices.Clone(it.job.Plan.Protected.Tokens), it.job.Protected.Tokens...)
	principals := append(slices.Clone(it.job.Plan.Protected.Principals), it.job.Protected.Principals...)
	switch {
	case t.ID == caller.TokenID:
		return reasonInUse, "this run signs in with it"
	case (t.OwnerID == caller.ID || t.CreatorID == caller.ID) && !it.job.Options.IncludeSelf:
		return reasonSelf, "belongs to, or was made by, the principal that applies; --include-self revokes such tokens last"
	case slices.Contains(tokens, t.ID):
		return reasonProtected, "the token is protected"
	case slices.Contains(principals, t.OwnerID) || slices.Contains(principals, t.CreatorID) || slices.Contains(principals, t.CreatorName):
		return reasonProtected, "its owner or creator is protected"
	}
	return "", ""
}

// drift compares what is seen with what was approved.
func (it *item) drift(seen engine.Observation) (reason, detail string) {
	if seen.Digest() == it.step.Precondition.Digest {
		return "", ""
	}
	if it.remedy.OfToken {
		return reasonIdentity, "another token than the one approved: " + changes(it.step.Precondition.Identity, seen.State)
	}
	return reasonValue, "is not what it was when the plan was made: " + changes(it.step.Precondition.Identity, seen.State)
}

// changes names the fields that differ, with their values where they are short.
func changes(planned, seen map[string]any) string {
	var found []string
	for _, key := range engine.SortedKeys(seen) {
		before, after := text(planned[key]), text(seen[key])
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

func text(value any) string {
	return engine.SafeText(engine.RedactSecrets(string(engine.CompactJSON(value))))
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

// rules runs the policies of the step on the token as it is now.
func (it *item) rules(ctx context.Context, t *engine.Token) (s sight, reason, detail string, err error) {
	if t == nil {
		return sightClear, "", "", nil // a state that is the same has the same reasons
	}
	if len(it.step.Policies) == 0 {
		return sightDrifted, reasonNoGrounds, "the step rests on no policy", nil
	}
	if it.usedSince(*t) && (it.job.Plan.OnUse != "proceed" || it.restsOnUse()) {
		return sightDrifted, reasonUsedSince, "was used since the plan was made", nil
	}
	fires, why, err := it.job.Judge.StillFires(context.WithoutCancel(ctx), it.step, *t, it.live.Now())
	if err != nil || fires {
		return sightClear, "", "", err
	}
	return sightDrifted, reasonRuleSilent, why, nil
}

// usedSince compares days of use. A last use that cannot be told now but could
// then counts as use.
func (it *item) usedSince(t engine.Token) bool {
	planned, known := it.step.Precondition.Volatile["last_used_day"].(string)
	if !known {
		return t.LastUsed != nil || defective(t, "last_used_day")
	}
	before, err := strconv.ParseInt(planned, 10, 64)
	return err != nil || t.LastUsed == nil || *t.LastUsed > before
}

func defective(t engine.Token, field string) bool {
	return slices.ContainsFunc(t.Defects, func(d engine.Defect) bool { return d.Field == field })
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
