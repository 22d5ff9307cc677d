package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/store"
	"strings"
	"time"
)

// Explain explains what a policy says of a resource of the newest snapshots: of the
// tokens or secrets whose id begins as it, or of the workspace with that name or id.
func (r *Run) Explain(ctx context.Context, set *Policies, policy engine.Policy, resource string, show func(name string, asOf time.Time, e eval.Explanation) error) error {
	return r.WithStore(ctx, store.ReadOnly, func(db *store.DB) error {
		snapshots, err := r.StoredSnapshots(ctx, db, nil)
		if err != nil {
			return err
		}
		if err := db.Intact(ctx, snapshots...); err != nil {
			return err
		}
		found := 0
		for _, s := range snapshots {
			job := eval.Job{Snapshot: s, AsOf: AsOf(snapshots, time.Time{}), Tuning: set.Effective(s.Workspace)}
			if job.Previous, err = db.PreviousState(ctx, s); err != nil {
				return err
			}
			showOne := func(name string, e eval.Explanation, err error) error {
				found++
				if err != nil {
					return err
				}
				return show(name, job.AsOf, e)
			}
			switch policy.Resource {
			case engine.ResourceWorkspace:
				if resource == s.Workspace.Name || resource == s.Workspace.ID {
					e, failed := set.All.Explain(ctx, job, policy.ID, eval.Explained{})
					err = showOne("workspace "+s.Workspace.Name, e, failed)
				}
			case engine.ResourceSecret:
				var secrets engine.Secrets
				if text := s.Documents[engine.SectionSecrets]; text != nil {
					if err := json.Unmarshal(text, &secrets); err != nil {
						return fmt.Errorf("read secrets of workspace %s: %w", s.Workspace.Name, err)
					}
				}
				for _, secret := range secrets {
					if err == nil && strings.HasPrefix(secret.ID, resource) {
						e, failed := set.All.Explain(ctx, job, policy.ID, eval.Explained{Secret: &secret})
						err = showOne(fmt.Sprintf("secret %s of service principal %s in %s", secret.ID, secret.OwnerName, s.Workspace.Name), e, failed)
					}
				}
			default:
				if !s.Coverage[engine.SectionTokens].Usable() {
					continue
				}
				for subject, failed := range db.Subjects(ctx, s.ID, job.AsOf, true) {
					if err = cmp.Or(err, failed); err != nil {
						return err
					}
					if strings.HasPrefix(subject.Token.ID, resource) {
						e, failed := set.All.Explain(ctx, job, policy.ID, eval.Explained{Token: &subject})
						err = showOne(fmt.Sprintf("token %s of %s in %s", subject.Token.ID, subject.Owner.Label(), s.Workspace.Name), e, failed)
					}
				}
			}
			if err != nil {
				return err
			}
		}
		if found == 0 {
			return engine.UsageError("explain", resource, "See `patrol tokens` for the ids.", fmt.Errorf("no %s of the newest snapshots is called so", policy.Resource))
		}
		return nil
	})
}
