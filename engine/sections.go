package engine

// ResourceSecret is an OAuth secret of a service principal.
const ResourceSecret Resource = "secret"

// SectionSecrets is the list of OAuth secrets of service principals. It is
// read on request only: it takes rights that an ordinary audit needs not.
const SectionSecrets SectionName = "service_principal_secrets"

// Secret is an OAuth secret of a service principal, as the platform lists it:
// its value was shown once, to whoever made it.
type Secret struct {
	ID         string `json:"id"`
	OwnerID    string `json:"service_principal_id"`
	OwnerName  string `json:"service_principal"` // application id
	OwnerLabel string `json:"display_name"`
	Status     string `json:"status"`     // ACTIVE, INACTIVE
	Created    int64  `json:"created_ms"` // ms
	Expires    int64  `json:"expires_ms"` // ms; NeverExpires
	// Scopes are the APIs that it opens: empty is all; nil where the platform does not tell.
	Scopes []string `json:"scopes,omitzero"`
}

// Secrets is the document of the section of that name.
type Secrets []Secret

// Facts derives the facts of a secret at an instant (ms), as those of a token.
func (s Secret) Facts(asOf int64) Facts {
	return Derive(Token{Created: &s.Created, Expires: &s.Expires, OwnerID: s.OwnerID, CreatorID: s.OwnerID}, asOf)
}

// SectionTokenReport is how an account's own report of all tokens, an exported
// file, and what was read of a workspace differ. No call reads it: a collector
// compares the file with the list of tokens.
const SectionTokenReport SectionName = "token_report"

// ReportComparison is the document of that section.
type ReportComparison struct {
	Counts ComparedCounts `json:"counts"`
	// MissingHere are tokens of the report that the workspace does not list,
	// MissingThere those that it lists and the report does not have: expired
	// ones last, else the oldest first and those of unknown age before them, and
	// not more than MostUnmatched of each.
	MissingHere  []UnmatchedToken `json:"missing_here"`
	MissingThere []UnmatchedToken `json:"missing_there"`
}

// MostUnmatched bounds each list of a comparison; counts are whole.
const MostUnmatched = 100

// ComparedCounts are numbers of tokens.
type ComparedCounts struct {
	Report       int `json:"report"` // in the report, of this workspace
	Read         int `json:"read"`
	Both         int `json:"both"`
	MissingHere  int `json:"missing_here"`
	MissingThere int `json:"missing_there"`
}

// UnmatchedToken is a token that one side has alone, with the facts as of the
// snapshot. A fact that is not known is left out.
type UnmatchedToken struct {
	ID      string `json:"token_id"`
	AgeDays *int64 `json:"age_days,omitempty"`
	Expired *bool  `json:"expired,omitempty"`
}

// The sections that tell how else than by a token somebody can sign in. All are
// read on request only.
const (
	SectionFederation SectionName = "federation_policies"
	SectionOAuthApps  SectionName = "oauth_apps"
	SectionRecipients SectionName = "recipients"
)

// FederationPolicy lets tokens of another issuer sign in: as one service
// principal, or, of the account itself, as whomever the subject claim names.
type FederationPolicy struct {
	ID           string   `json:"id"`
	OwnerID      string   `json:"service_principal_id"` // "": of the account
	OwnerName    string   `json:"service_principal"`    // application id
	OwnerLabel   string   `json:"display_name"`
	Issuer       string   `json:"issuer"`
	Subject      string   `json:"subject"` // "": of the account
	SubjectClaim string   `json:"subject_claim"`
	Audiences    []string `json:"audiences"`
	OwnKeys      bool     `json:"own_keys"` // keys are given with the policy, in place of the issuer's
}

// OAuthApp is an application that signs people in to the account.
type OAuthApp struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Published    bool     `json:"published"`    // by the platform, as Power BI; its scopes are not told
	Confidential bool     `json:"confidential"` // it has a secret
	Scopes       []string `json:"scopes"`
	AccessTTL    int64    `json:"access_ttl_minutes"`
	RefreshTTL   int64    `json:"refresh_ttl_minutes"`
	SingleUse    bool     `json:"single_use_refresh_tokens"`
	SessionTTL   int64    `json:"session_ttl_minutes"` // with single use; 0: not told
}

// Recipient of shared data, who reads it from outside of the platform.
type Recipient struct {
	Name           string           `json:"name"`
	Authentication string           `json:"authentication_type"`
	Owner          string           `json:"owner"`
	AllowedIPs     []string         `json:"allowed_ips"`
	Tokens         []RecipientToken `json:"tokens"`
}

// RecipientToken is a token of a recipient, never its value or the link to it.
type RecipientToken struct {
	ID      string `json:"id"`
	Created int64  `json:"created_ms"`
	Expires int64  `json:"expires_ms,omitempty"` // 0: the platform tells none
}
