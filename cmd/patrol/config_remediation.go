package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/plan"

	"github.com/goccy/go-yaml/ast"
)

// remediationConfig is what the operator decides about plans.
type remediationConfig struct {
	remedies  map[string]remedyConfig // policy id as written → remedy
	protected engine.Protected
	limits    engine.Limits
	grace     time.Duration
	validity  time.Duration
	onUse     string
}

// remedyConfig gives a policy another remedy.
type remedyConfig struct {
	action engine.Action
	line   int
}

// approvalConfig is what the operator asks of approvals.
type approvalConfig struct {
	required          int
	allowedSigners    string
	plannerMayApprove bool
	criticalNeedOwn   bool
	line              int
}

func defaultRemediation() remediationConfig {
	return remediationConfig{remedies: map[string]remedyConfig{}, limits: engine.DefaultLimits(), validity: plan.DefaultValidity, onUse: plan.OnUseSkip}
}

func defaultApproval() approvalConfig { return approvalConfig{required: 1, plannerMayApprove: true} }

func (c *config) readRemediation(node ast.Node) error {
	r := &c.remediation
	return c.eachKey(node, "remediation", func(key string, value ast.Node, line int) error {
		switch key {
		case "remedies":
			return c.readRemedies(value)
		case "protected":
			return c.readProtected(value)
		case "limits":
			return c.readLimits(value)
		case "grace":
			return c.readDuration(value, line, key, 0, &r.grace)
		case "valid_for":
			return c.readDuration(value, line, key, plan.MaxValidity, &r.validity)
		case "on_use":
			if err := c.decode(value, &r.onUse); err != nil {
				return err
			}
			if r.onUse != plan.OnUseSkip && r.onUse != plan.OnUseProceed {
				return c.errorf(line, "on_use is %q: want %s or %s", r.onUse, plan.OnUseSkip, plan.OnUseProceed)
			}
			return nil
		}
		return c.errorf(line, "unknown key %q: want remedies, protected, limits, grace, valid_for or on_use", key)
	})
}

func (c *config) readRemedies(node ast.Node) error {
	return c.eachKey(node, "remedies", func(id string, value ast.Node, line int) error {
		var text string
		if err := c.decode(value, &text); err != nil {
			return err
		}
		action := engine.Action(text)
		if !slices.Contains(append(engine.Actions(), plan.None), action) {
			return c.errorf(line, "remedy %q of %s: want one of %v, %s", text, id, engine.Actions(), plan.None)
		}
		c.remediation.remedies[id] = remedyConfig{action, line}
		return nil
	})
}

func (c *config) readProtected(node ast.Node) error {
	return c.eachKey(node, "protected", func(key string, value ast.Node, line int) error {
		switch key {
		case "tokens":
			return c.readIDs(value, line, &c.remediation.protected.Tokens)
		case "principals":
			return c.readIDs(value, line, &c.remediation.protected.Principals)
		}
		return c.errorf(line, "unknown key %q: want tokens or principals", key)
	})
}

// readIDs reads a list of ids. YAML takes digits for a number; ids pass 2^53 and
// stay text.
func (c *config) readIDs(node ast.Node, line int, into *[]string) error {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		return c.errorf(line, "want a list of ids")
	}
	for _, item := range list.Values {
		id := strings.TrimSpace(item.GetToken().Value)
		if id == "" || item.Type() != ast.StringType && item.Type() != ast.IntegerType {
			return c.errorf(lineOf(item), "want an id, such as \"4503599627370497\"")
		}
		if strings.Contains(id, "@") {
			return c.errorf(lineOf(item), "%q is a name: principals are protected by numeric id or application id, which nobody can choose", id)
		}
		*into = append(*into, id)
	}
	return nil
}

func (c *config) readLimits(node ast.Node) error {
	l := &c.remediation.limits
	return c.eachKey(node, "limits", func(key string, value ast.Node, line int) error {
		count := map[string]*int{"max_steps": &l.MaxSteps, "max_per_owner": &l.MaxPerOwner, "max_recently_used": &l.MaxRecentlyUsed}
		switch {
		case count[key] != nil:
			return c.readCount(value, line, key, count[key])
		case key == "recently_used_days":
			days := 0
			err := c.readCount(value, line, key, &days)
			l.RecentlyUsedDays = int64(days)
			return err
		case key == "max_percent":
			if err := c.decode(value, &l.MaxPercent); err != nil {
				return err
			}
			if !(l.MaxPercent >= 0 && l.MaxPercent <= 100) {
				return c.errorf(line, "max_percent is %v: want 0 to 100", l.MaxPercent)
			}
			return nil
		}
		return c.errorf(line, "unknown key %q: want max_steps, max_percent, max_per_owner, max_recently_used or recently_used_days", key)
	})
}

func (c *config) readCount(node ast.Node, line int, key string, into *int) error {
	if err := c.decode(node, into); err != nil {
		return err
	}
	if *into < 0 {
		return c.errorf(line, "%s is %d: want 0 (none) or more", key, *into)
	}
	return nil
}

// readDuration reads 36h, or whole days such as 7d.
func (c *config) readDuration(node ast.Node, line int, key string, most time.Duration, into *time.Duration) error {
	var text string
	if err := c.decode(node, &text); err != nil {
		return err
	}
	d, err := parseDuration(text)
	if err != nil {
		return c.errorf(line, "%s: %v", key, err)
	}
	if most > 0 && (d > most || d == 0) {
		return c.errorf(line, "%s is %s: want more than nothing and at most %s", key, text, most)
	}
	*into = d
	return nil
}

func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no length of time such as 36h or 7d", text)
	}
	return d, nil
}

func (c *config) readApproval(node ast.Node) error {
	a := &c.approval
	err := c.eachKey(node, "approval", func(key string, value ast.Node, line int) error {
		a.line = line
		switch key {
		case "required":
			return c.readCount(value, line, key, &a.required)
		case "allowed_signers":
			return c.decode(value, &a.allowedSigners)
		case "planner_may_approve":
			return c.decode(value, &a.plannerMayApprove)
		case "critical_need_own":
			return c.decode(value, &a.criticalNeedOwn)
		}
		return c.errorf(line, "unknown key %q: want required, allowed_signers, planner_may_approve or critical_need_own", key)
	})
	switch {
	case err != nil:
		return err
	case a.required < 1:
		return c.errorf(a.line, "required is %d: want at least 1", a.required)
	case a.required > 1 && a.allowedSigners == "":
		return c.errorf(a.line, "required is %d: without allowed_signers anybody could be several people", a.required)
	}
	return nil
}

// planConfig is the remediation part as planning wants it, with policies by
// their id.
func (c *config) planConfig(set *policySet) (plan.Config, error) {
	r := c.remediation
	remedies := map[string]engine.Action{}
	for _, id := range engine.SortedKeys(r.remedies) {
		policy, known := set.policy(id)
		if !known {
			return plan.Config{}, c.errorf(r.remedies[id].line, "policy %q does not exist", id)
		}
		if !slices.Contains(plan.Remedies(policy.Resource), r.remedies[id].action) {
			return plan.Config{}, c.errorf(r.remedies[id].line, "remedy %s does not suit %s, which judges a %s: want one of %v",
				r.remedies[id].action, id, policy.Resource, plan.Remedies(policy.Resource))
		}
		remedies[policy.ID] = r.remedies[id].action
	}
	return plan.Config{Remedies: remedies, Protected: r.protected, Limits: r.limits, Grace: r.grace, Validity: r.validity, OnUse: r.onUse}, nil
}

// trust is what this configuration asks of approvals. The file of signers is
// found beside the configuration that names it.
func (c *config) trust() (plan.Trust, error) {
	a := c.approval
	t := plan.Trust{Required: a.required, PlannerMayApprove: a.plannerMayApprove, CriticalNeedOwn: a.criticalNeedOwn}
	if a.allowedSigners == "" {
		return t, nil
	}
	path := a.allowedSigners
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(c.path), path)
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

// showRemediation lists what is in force about plans and approvals. Only
// remedies have lines of their own: all else has a default.
func (a *app) showRemediation(w io.Writer) {
	r, t := a.config.remediation, a.config.approval
	for _, id := range engine.SortedKeys(r.remedies) {
		fmt.Fprintf(w, "remediation.remedies.%s\t%s\t%s\n", engine.SafeText(id), r.remedies[id].action, a.config.place(r.remedies[id].line))
	}
	standard := settingRowsOf(defaultRemediation(), defaultApproval())
	for i, row := range settingRowsOf(r, t) {
		origin := "default"
		if row != standard[i] {
			origin = a.config.path
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", row[0], engine.SafeText(row[1]), origin)
	}
}

func settingRowsOf(r remediationConfig, t approvalConfig) [][2]string {
	return [][2]string{
		{"remediation.protected.tokens", strings.Join(r.protected.Tokens, ",")},
		{"remediation.protected.principals", strings.Join(r.protected.Principals, ",")},
		{"remediation.limits.max_steps", fmt.Sprint(r.limits.MaxSteps)},
		{"remediation.limits.max_percent", fmt.Sprint(r.limits.MaxPercent)},
		{"remediation.limits.max_per_owner", fmt.Sprint(r.limits.MaxPerOwner)},
		{"remediation.limits.max_recently_used", fmt.Sprint(r.limits.MaxRecentlyUsed)},
		{"remediation.limits.recently_used_days", fmt.Sprint(r.limits.RecentlyUsedDays)},
		{"remediation.grace", r.grace.String()},
		{"remediation.valid_for", r.validity.String()},
		{"remediation.on_use", r.onUse},
		{"approval.required", fmt.Sprint(t.required)},
		{"approval.allowed_signers", t.allowedSigners},
		{"approval.planner_may_approve", fmt.Sprint(t.plannerMayApprove)},
		{"approval.critical_need_own", fmt.Sprint(t.criticalNeedOwn)},
	}
}
