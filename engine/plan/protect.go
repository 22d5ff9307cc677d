package plan

import "patrol/engine"

// protection tells why no step may change a token; "" when one may.
func (b *builder) protection(w *workspace, s engine.Subject) string {
	if why := b.in.Config.Protected.Protects(s); why != "" {
		return why
	}
	if w.caller != "" && (s.Token.OwnerID == w.caller || s.Token.CreatorID == w.caller) {
		return "owner or creator is the principal that patrol signed in as"
	}
	return ""
}
