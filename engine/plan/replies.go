package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"patrol/engine"
)

// RepliesSchema is the version of the file of replies.
const RepliesSchema = 1

// Replies are what owners answered about the tokens of a plan. They change
// nothing: a plan made with them has steps to approve, and a waiver made of them
// lacks its approver.
type Replies struct {
	Schema  int     `json:"schema"`
	PlanID  string  `json:"plan_id"`
	PlanSHA string  `json:"plan_sha256"`
	Replies []Reply `json:"replies"`
}

// Reply is an owner's answer about one token.
type Reply struct {
	Step        string   `json:"step"`
	Workspace   string   `json:"workspace"`
	WorkspaceID string   `json:"workspace_id"`
	Token       string   `json:"token"`
	Owner       string   `json:"owner"`
	OwnerID     string   `json:"owner_id"`
	Policies    []string `json:"policies"`
	Reply       string   `json:"reply"`
	Comment     string   `json:"comment,omitempty"`
	Until       string   `json:"until,omitempty"` // last day, of a justification
}

// Encode renders replies as the file holds them.
func (r Replies) Encode() []byte { return indented(engine.EscapeJSON(engine.CompactJSON(r))) }

// ReadReplies reads a file of replies strictly.
func ReadReplies(content []byte) (Replies, error) {
	var r Replies
	err := decodeStrict(content, &r)
	switch {
	case err != nil:
	case r.Schema != RepliesSchema:
		err = fmt.Errorf("schema %d: want %d", r.Schema, RepliesSchema)
	default:
		err = r.check()
	}
	if err != nil {
		return Replies{}, engine.UsageError("read replies", "", "Use the file that `patrol notices read` wrote.", err)
	}
	return r, nil
}

func (r Replies) check() error {
	for i, one := range r.Replies {
		switch {
		case !slices.Contains(engine.ReplyWords(), one.Reply):
			return fmt.Errorf("reply %d is %q: want one of %s", i+1, one.Reply, strings.Join(engine.ReplyWords(), ", "))
		case one.WorkspaceID == "" || one.Token == "":
			return fmt.Errorf("reply %d names no token", i+1)
		}
	}
	return nil
}

// revoked are the tokens that their owners gave up. One about which the owner
// also said something else is not: who contradicts himself is asked again.
func (r Replies) revoked() map[target]bool {
	revoked := map[target]bool{}
	for _, one := range r.Replies {
		key := target{one.WorkspaceID, one.Token}
		if given, known := revoked[key]; !known || given {
			revoked[key] = one.Reply == engine.ReplyRevoke
		}
	}
	return revoked
}

// Contradicted are the tokens that their owners gave up and also did not.
func (r Replies) Contradicted() []string {
	var list []string
	revoked := r.revoked()
	for _, one := range r.Replies {
		if one.Reply == engine.ReplyRevoke && !revoked[target{one.WorkspaceID, one.Token}] {
			list = append(list, one.Token)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

const waiverHead = `# Proposed by the owners of tokens, made by patrol notices read.
# None of them counts: whoever decides fills in approver, or deletes the entry, and moves the rest into waivers.yaml.
waivers:
`

var errPattern = errors.New("the id holds * or ?, which mean more than themselves in a waiver")

// Waivers proposes a waiver for each justification, as YAML. Without an approver
// it is not valid, so that a proposal can never be taken for a decision. It is
// empty when nobody justified anything.
func (r Replies) Waivers(today time.Time) (string, error) {
	var b strings.Builder
	for _, one := range r.Replies {
		if one.Reply != engine.ReplyJustify {
			continue
		}
		if strings.ContainsAny(one.Token+one.WorkspaceID, "*?") {
			return "", fmt.Errorf("token %q: %w", one.Token, errPattern)
		}
		fmt.Fprintf(&b, "  - id: %s\n", quoted("reply-"+one.Step))
		fmt.Fprintf(&b, "    policy: %s\n", engine.CompactJSON(one.Policies))
		fmt.Fprintf(&b, "    workspace: %s\n    token: %s\n", quoted(one.WorkspaceID), quoted(one.Token))
		fmt.Fprintf(&b, "    reason: %s\n", quoted(one.Owner+": "+one.Comment))
		fmt.Fprintf(&b, "    created: %s\n    expires: %s\n    approver: # who decides\n", today.UTC().Format(time.DateOnly), one.Until)
	}
	if b.Len() == 0 {
		return "", nil
	}
	return waiverHead + b.String(), nil
}

// quoted is text as YAML takes it, which is how JSON quotes it.
func quoted(text string) string { return string(engine.CompactJSON(engine.SafeText(text))) }
