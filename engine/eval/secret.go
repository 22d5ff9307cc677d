package eval

import (
	"context"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
)

// Secrets are judged where their section was read whole, so that every field
// of them is known.

func (v *workspaceView) readSecrets() error {
	if !v.snapshot.Coverage[engine.SectionSecrets].Complete() {
		return nil
	}
	return v.document(engine.SectionSecrets, &v.secrets)
}

// judgeSecrets judges all secrets by one policy.
func (e *evaluation) judgeSecrets(ctx context.Context, j *judge, a *assignment) error {
	for _, secret := range e.view.secrets {
		o := j.secret(ctx, a, secret)
		if err := ctx.Err(); err != nil {
			return err
		}
		if !o.status.Finding() {
			e.tallies[a.ID][o.status]++
			continue
		}
		if err := e.report(e.view.finding(a, ofSecret(secret), o)); err != nil {
			return err
		}
	}
	return nil
}

func (j *judge) secret(ctx context.Context, a *assignment, s engine.Secret) outcome {
	return j.decide(ctx, a, j.secretInput(a, s), &subject{})
}

func (j *judge) secretInput(a *assignment, s engine.Secret) *ast.Term {
	return j.input(a, [2]*ast.Term{ast.InternedTerm("secret"), secretTerm(s, j.view.asOf)})
}

func secretTerm(s engine.Secret, asOf int64) *ast.Term {
	f := s.Facts(asOf)
	o := object{}
	o.text("id", s.ID)
	o.text("owner_id", s.OwnerID)
	o.text("owner_name", s.OwnerName)
	o.text("owner_display_name", s.OwnerLabel)
	o.text("status", s.Status)
	o.instantOf("created_at", s.Created)
	if s.Expires != engine.NeverExpires {
		o.instantOf("expires_at", s.Expires)
	}
	if s.Scopes != nil {
		o.put("scopes", textsTerm(s.Scopes))
	}
	o.number("age_days", f.AgeDays)
	o.number("lifetime_days", f.LifetimeDays)
	o.number("expires_in_days", f.ExpiresInDays)
	o.truth("never_expires", f.NeverExpires)
	o.truth("expired", f.Expired)
	return o.term()
}

// target is what a finding is about.
type target struct {
	resource           engine.Resource
	id, owner, ownerID string
	row                int64
	account            *engine.AccountParty // of the owner
}

func ofSecret(s engine.Secret) target {
	owner := s.OwnerName
	if owner == "" {
		owner = s.OwnerID
	}
	return target{resource: engine.ResourceSecret, id: s.ID, owner: owner, ownerID: s.OwnerID}
}

func ofToken(s engine.Subject) target {
	return target{engine.ResourceToken, s.Token.ID, s.Owner.WorkspaceLabel(), s.Owner.ID, s.Row, s.Owner.Account}
}

func (v *workspaceView) itself() target {
	return target{resource: engine.ResourceWorkspace, id: v.snapshot.Workspace.ID}
}
