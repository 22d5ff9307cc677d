package apply

import "context"

// Check passes the gates that need no network. Run passes them again; who calls
// Check first need not sign in anywhere for a plan that is refused.
func (j Job) Check(ctx context.Context) error {
	r := newRun(j)
	if err := r.reload(ctx); err != nil {
		return err
	}
	return r.offline()
}

// Needed are the ids of the workspaces in which something is left to do.
func (j Job) Needed(ctx context.Context) ([]string, error) {
	r := newRun(j)
	if err := r.reload(ctx); err != nil {
		return nil, err
	}
	var needed []string
	for _, w := range r.involved() {
		needed = append(needed, w.ID)
	}
	return needed, nil
}
