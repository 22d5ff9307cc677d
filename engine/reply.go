package engine

// What an owner can answer about a token.
const (
	ReplyKeep    = "keep"    // the owner needs it and sets it right
	ReplyRevoke  = "revoke"  // it can go
	ReplyJustify = "justify" // it has to stay as it is, for a reason and until a day
)

// ReplyWords are the answers in the order in which they are offered.
func ReplyWords() []string { return []string{ReplyKeep, ReplyRevoke, ReplyJustify} }
