package engine

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
