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
