package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/store"
)

// demoStory is the second half of the demo: from findings to a workspace that
// has fewer.
type demoStory struct {
	*app
	account  *simulator.Account
	profiles string
	dir      string
}

func (d *demoStory) path(name string) string { return filepath.Join(d.dir, name) }

// tell plans, approves what is harmless, lets one token change, applies, and
// audits again.
func (d *demoStory) tell(ctx context.Context) error {
	before, err := d.failed(ctx)
	if err != nil {
		return err
	}
	d.step("What should be done about it? A plan proposes, and sends nothing.", "patrol plan -o "+d.path("plan.json"))
	if err := d.makePlan(ctx, &planOptions{output: d.path("plan.json"), planner: "demo"}); err != nil {
		return err
	}
	chosen, err := d.choose()
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		d.say("No step is harmless enough to approve in a demo.")
		return nil
	}
	if err := d.approveSteps(ctx, chosen); err != nil {
		return err
	}
	if err := d.drift(chosen); err != nil {
		return err
	}
	if err := d.carryOut(ctx); err != nil {
		return err
	}
	d.step("And now?", "patrol audit")
	if err := d.demoAudit(ctx, d.profiles, d.path("after")); err != nil {
		return err
	}
	after, err := d.failed(ctx)
	if err != nil {
		return err
	}
	d.say("")
	d.say("%s before, %d after. What was done, and why the rest was not, is in %s; the journal proves it.",
		plural(before, "failed result"), after, d.path("plan.outcome.json"))
	return nil
}

// step begins a part of the story with the command that a user would type.
func (d *demoStory) step(text, command string) {
	d.say("")
	d.say("%s", text)
	d.say("  $ %s", command)
	d.say("")
}

// failed counts the failed results of the latest evaluation.
func (d *demoStory) failed(ctx context.Context) (n int, err error) {
	err = d.withStore(ctx, store.ReadOnly, func(db *store.DB) error {
		id, err := db.LatestEvaluation(ctx)
		if err != nil {
			return err
		}
		report, err := db.Report(ctx, id)
		n = report.Summary.Statuses[engine.Fail]
		return err
	})
	return n, err
}

// choose takes the steps that a careful reviewer would approve at first sight:
// those of low risk, for as long as the plan's limits allow.
func (d *demoStory) choose() ([]engine.Step, error) {
	p, _, err := readPlan(d.path("plan.json"))
	if err != nil {
		return nil, err
	}
	chosen := map[string]bool{}
	var steps []engine.Step
	for _, step := range p.Steps {
		if !step.Action.Changes() || step.Risk.Level != "low" {
			continue
		}
		chosen[step.ID] = true
		if len(p.Exceeds(func(id string) bool { return chosen[id] })) > 0 {
			delete(chosen, step.ID)
			continue
		}
		steps = append(steps, step)
	}
	return steps, nil
}

func (d *demoStory) approveSteps(ctx context.Context, steps []engine.Step) error {
	var ids []string
	for _, step := range steps {
		ids = append(ids, step.ID)
	}
	d.step("A person approves: here only what has a low risk and stays within the limits.", "patrol approve "+d.path("plan.json")+" --step "+strings.Join(ids, ","))
	return d.approve(ctx, d.path("plan.json"), &approveOptions{
		steps: ids, by: "reviewer@example.com", reason: "demo", changed: func(flag string) bool { return flag == "step" },
	})
}

// drift has somebody else change the last of the tokens that are to be revoked.
func (d *demoStory) drift(steps []engine.Step) error {
	var last *engine.Step
	revoked := 0
	for i := range steps {
		if steps[i].Action == engine.Revoke {
			last = &steps[i]
			revoked++
		}
	}
	if revoked < 2 {
		return nil
	}
	token, there := d.account.Token(last.WorkspaceID, last.Target)
	if !there {
		return errors.New("demo: the account has lost a token")
	}
	token.ExpiryTime = d.account.Now().UnixMilli() + 30*engine.Day
	if _, err := d.account.PutToken(last.WorkspaceID, token); err != nil {
		return err
	}
	d.say("")
	d.say("Meanwhile somebody gives token %s another expiry: it is no longer what was approved.", targetOf(*last))
	return nil
}

// carryOut applies the plan. That the changed token is skipped is the point.
func (d *demoStory) carryOut(ctx context.Context) error {
	d.step("Apply looks at every token once more, writes down what it will do, does it, and looks again.", "patrol apply "+d.path("plan.json")+" --yes")
	options := applyOptions{source: demoSource(d.profiles), yes: true, rate: 50}
	err := d.apply(ctx, d.path("plan.json"), &options)
	if known, ok := engine.AsError(err); ok && known.Class == engine.ClassPartial {
		return nil
	}
	return err
}

func demoSource(profiles string) sourceOptions {
	return sourceOptions{configFile: profiles, parallel: defaultParallel, retry: defaultRetryBudget}
}
