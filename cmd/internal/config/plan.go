package config

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/plan"
	"patrol/engine/remedy"
)

// Plan is the remediation part as planning wants it, with policies by their id.
func (f *File) Plan(policy func(id string) (engine.Policy, bool)) (plan.Config, error) {
	r := f.Remediation
	remedies := map[string]engine.Action{}
	for _, id := range engine.SortedKeys(r.Remedies) {
		key, action := "remediation.remedies."+id, engine.Action(r.Remedies[id])
		p, known := policy(id)
		if !known {
			return plan.Config{}, f.Errorf(key, "policy %q does not exist", id)
		}
		if suit := remedy.For(p.Resource); !slices.Contains(suit, action) {
			return plan.Config{}, f.Errorf(key, "remedy %s does not suit %s, which judges a %s: want one of %v", action, id, p.Resource, suit)
		}
		remedies[p.ID] = action
	}
	return plan.Config{Remedies: remedies, Protected: r.Protected, Limits: r.Limits, Grace: time.Duration(r.Grace), Validity: time.Duration(r.ValidFor), OnUse: r.OnUse, Contact: r.Contact}, nil
}

// Trust is what the file asks of approvals. The file of signers is found beside
// the configuration that names it.
func (f *File) Trust() (plan.Trust, error) {
	a := f.Approval
	t := plan.Trust{Required: a.Required, PlannerMayApprove: a.PlannerMayApprove, CriticalNeedOwn: a.CriticalNeedOwn}
	if a.AllowedSigners == "" {
		return t, nil
	}
	path := a.AllowedSigners
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(f.Path), path)
	}
	content, err := os.ReadFile(path)
	if err == nil {
		t.Signers, err = plan.ParseSigners(content)
	}
	if err != nil {
		return t, &engine.Error{Class: engine.ClassUsage, Reason: "config", Op: "read allowed signers", Target: path,
			Hint: "approval.allowed_signers names a file as ssh-keygen(1) describes it under ALLOWED SIGNERS.", Err: err}
	}
	return t, nil
}
