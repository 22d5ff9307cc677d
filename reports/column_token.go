package reports

import (
	"slices"

	"patrol/engine"
)

// tokenColumns are the columns of the population: the workbook's Tokens sheet
// and what the tokens command writes. Facts have the names that they have in
// Rego.
func tokenColumns() []column[engine.TokenRow] {
	type row = engine.TokenRow
	return []column[row]{
		{"workspace", plain, 18, func(t row) any { return t.Workspace.Name }},
		{"workspace_id", identifier, 20, func(t row) any { return t.Workspace.ID }},
		{"token_id", identifier, 24, func(t row) any { return t.Token.ID }},
		{"comment", plain, 34, field("comment", func(t row) any { return t.Token.Comment })},
		{"owner", plain, 28, func(t row) any { return wordOrUnknown(t.Owner.Label()) }},
		{"owner_id", identifier, 20, func(t row) any { return wordOrUnknown(t.Owner.ID) }},
		{"owner_kind", plain, 17, func(t row) any { return wordOrUnknown(string(t.Owner.Kind)) }},
		{"owner_active", plain, 13, func(t row) any { return orUnknown(t.Owner.Active) }},
		{"owner_account_status", plain, 20, ownerAccountStatus},
		{"owner_admin", plain, 13, func(t row) any { return orUnknown(t.Owner.Admin) }},
		{"owner_live_tokens", number, 18, ownerLiveTokens},
		{"creator", plain, 28, func(t row) any { return wordOrUnknown(t.Creator.Label()) }},
		{"creator_id", identifier, 20, func(t row) any { return wordOrUnknown(t.Creator.ID) }},
		{"on_behalf", plain, 11, fact("on_behalf", func(t row) any { return optional(t.Facts.OnBehalf) })},
		{"created_at", date, 20, fact("created_at", func(t row) any { return moment(t.Token.Created) })},
		{"expires_at", date, 20, fact("expires_at", expiresAt)},
		{"last_used_at", date, 20, fact("last_used_at", lastUsedAt)},
		{"age_days", number, 10, fact("age_days", func(t row) any { return optional(t.Facts.AgeDays) })},
		{"lifetime_days", number, 14, fact("lifetime_days", func(t row) any { return optional(t.Facts.LifetimeDays) })},
		{"idle_days", number, 10, fact("idle_days", func(t row) any { return optional(t.Facts.IdleDays) })},
		{"expires_in_days", number, 16, fact("expires_in_days", func(t row) any { return optional(t.Facts.ExpiresInDays) })},
		{"used", plain, 8, fact("used", func(t row) any { return optional(t.Facts.Used) })},
		{"never_expires", plain, 14, fact("never_expires", func(t row) any { return optional(t.Facts.NeverExpires) })},
		{"expired", plain, 10, fact("expired", func(t row) any { return optional(t.Facts.Expired) })},
		{"scopes", plain, 24, field("scopes", func(t row) any { return t.Token.Scopes })},
		{"autoscope_state", plain, 16, field("autoscope_state", autoscopeState)},
		{"inferred_scopes", plain, 24, field("inferred_scopes", func(t row) any { return t.Token.InferredScopes })},
		{"backfill_scopes", plain, 24, field("backfill_scopes", func(t row) any { return t.Token.BackfillScopes })},
		{"defects", plain, 30, func(t row) any { return defectTexts(t.Token.Defects) }},
		{"unknown_facts", plain, 24, func(t row) any { return t.Facts.Unknown }},
	}
}

// fact guards a derived fact: unknown where it could not be derived.
func fact(name string, value func(engine.TokenRow) any) func(engine.TokenRow) any {
	return func(t engine.TokenRow) any {
		if slices.Contains(t.Facts.Unknown, name) {
			return unknown{}
		}
		return value(t)
	}
}

// field guards a field as the platform gives it: unknown where it was defective.
func field(name string, value func(engine.TokenRow) any) func(engine.TokenRow) any {
	return func(t engine.TokenRow) any {
		for _, defect := range t.Token.Defects {
			if defect.Field == name {
				return unknown{}
			}
		}
		return value(t)
	}
}

func wordOrUnknown(word string) any {
	if word == "" {
		return unknown{}
	}
	return word
}

// ownerAccountStatus is how the account stands to an owner whom the workspace
// does not know; nothing where it does, and where no account could tell.
func ownerAccountStatus(t engine.TokenRow) any {
	if t.Owner.Account == nil {
		return nil
	}
	return string(t.Owner.Account.Status)
}

func ownerLiveTokens(t engine.TokenRow) any {
	if t.Owner.ID == "" {
		return unknown{}
	}
	return t.Owner.LiveTokens
}

func moment(ms *int64) any {
	if ms == nil {
		return unknown{}
	}
	return instant(*ms)
}

func expiresAt(t engine.TokenRow) any {
	if t.Token.Expires != nil && *t.Token.Expires == engine.NeverExpires {
		return never{}
	}
	return moment(t.Token.Expires)
}

func lastUsedAt(t engine.TokenRow) any {
	if t.Token.LastUsed == nil {
		return never{}
	}
	return moment(t.Token.LastUsed)
}

func autoscopeState(t engine.TokenRow) any {
	if state := engine.AutoscopeState(t.Token.AutoscopeState); state != nil {
		return *state
	}
	return t.Token.AutoscopeState
}

func defectTexts(defects []engine.Defect) []string {
	texts := make([]string, len(defects))
	for i, d := range defects {
		texts[i] = d.Field + ": " + d.Reason
		if d.Value != "" {
			texts[i] += " (" + d.Value + ")"
		}
	}
	return texts
}
