package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
)

// The bounds of one step in one run.
const (
	maxAttempts = 5                // requests
	maxLooks    = 6                // GETs until one of them tells something
	maxAge      = 10 * time.Second // of a look that a request may rest on
	patience    = time.Minute      // for an acknowledged effect to be seen
	backoffMost = 15 * time.Second
)

// The reasons that entries carry, one word each.
const (
	reasonAlreadySo  = "already_so"
	reasonAbsent     = "absent"
	reasonIdentity   = "identity"
	reasonNoGrounds  = "no_grounds"
	reasonRuleSilent = "rule_silent"
	reasonUsedSince  = "used_since"
	reasonValue      = "value"
	reasonSelf       = "self"
	reasonInUse      = "in_use"
	reasonProtected  = "protected"
	reasonEndangers  = "endangers_more"
	reasonExpired    = "expired"
	reasonWithdrawn  = "withdrawn"
	reasonNotDue     = "not_due"
	reasonForbidden  = "forbidden"
	reasonUnreadable = "unreadable"
	reasonStillAlive = "not_seen"
	reasonLostAnswer = "lost_answer"
	reasonAttempts   = "attempts"
)

// item is a step in hand.
type item struct {
	*run
	step   engine.Step
	live   Workspace
	remedy remedy.Remedy
	entry  engine.Entry
}

// look is what a GET said, what it means, and when it was.
type look struct {
	seen   engine.Observation
	sight  sight
	reason string
	detail string
	at     time.Time
	stake  Stake
}

// settle brings the step to rest: to an end, or to where a later run can go on
// from. Requests and lines in the journal are not given up half-way when ctx
// ends; waiting is. Its error ends the run.
func (it *item) settle(ctx context.Context) error {
	if !it.remedy.Changes() {
		return it.move(ctx, engine.StateForPeople, note{detail: "for a person to do: patrol sends nothing"})
	}
	if it.entry.State == engine.StatePending && it.early() {
		return it.move(ctx, engine.StatePending, note{reason: reasonNotDue, detail: "may be done from " + it.step.NotBefore + " on"})
	}
	for tries := 0; ; tries++ {
		if it.entry.State == engine.StateAcked {
			return it.verify(ctx)
		}
		l, err := it.look(ctx)
		if err != nil || l == nil {
			return err
		}
		to := afterLook(it.entry.State, l.sight, it.remedy.Removes)
		if to != engine.StateIntent {
			return it.end(ctx, to, *l)
		}
		if tries == maxAttempts {
			return it.move(ctx, it.entry.State, note{reason: reasonAttempts, detail: fmt.Sprintf("no clear answer in %d attempts", tries)})
		}
		if again, err := it.attempt(ctx, *l); err != nil || !again {
			return err
		}
	}
}

// early reports whether the step's own time has not come yet.
func (it *item) early() bool {
	due, err := time.Parse(time.RFC3339, it.step.NotBefore)
	return err == nil && it.live.Now().Before(due)
}

// attempt says that it will act, acts, and takes the answer down. again holds
// when another look must decide.
func (it *item) attempt(ctx context.Context, l look) (again bool, err error) {
	if ctx.Err() != nil { // nothing was sent: the step can rest here
		return false, context.Cause(ctx)
	}
	if err := it.outlived(); err != nil {
		return false, err
	}
	if err := it.intend(ctx, l); err != nil {
		return false, err
	}
	if it.stale(l.at) {
		return true, nil
	}
	if err := it.outlived(); err != nil {
		return false, err
	}
	receipt, err := it.remedy.Do(context.WithoutCancel(ctx), it.live.Client, it.step, l.seen)
	fault, err := faultOf(err)
	if err != nil {
		return false, err
	}
	if receipt.Gone {
		fault = &engine.Fault{Kind: faultGone, Detail: "the target did not exist any more", HTTP: receipt.HTTP, Request: receipt.Request}
	}
	if fault == nil {
		if err := it.move(ctx, engine.StateAcked, note{http: receipt.HTTP, request: receipt.Request}); err != nil {
			return false, err
		}
		return true, nil
	}
	return it.answered(ctx, fault)
}

// outlived ends a run that went on for longer than its plan and approvals are
// good for: people were slow to answer, or the workspace was.
func (it *item) outlived() error {
	until, err := time.Parse(time.RFC3339, it.job.Plan.ExpiresAt)
	if err != nil {
		return err
	}
	if approved := it.job.Approval.Until; !approved.IsZero() && approved.Before(until) {
		until = approved
	}
	if it.job.Clock.Now().Before(until) {
		return nil
	}
	return stopped{reasonExpired, "the plan and its approvals were good until " + until.UTC().Format(time.RFC3339)}
}

// intend writes down, before anything is sent, that it will be.
func (it *item) intend(ctx context.Context, l look) error {
	next := it.entry
	next.State, next.Reason, next.Detail = engine.StateIntent, "", ""
	next.HTTP, next.Request = 0, ""
	next.Attempt++
	next.Before = l.seen.Digest()
	if it.remedy.Undo != nil && next.Prior == nil {
		next.Prior = l.seen.Prior
	}
	return it.write(ctx, next)
}

// stale reports whether a look is too old to act on, by either kind of clock:
// the machine may have slept, or its clock been set.
func (it *item) stale(at time.Time) bool {
	now := it.job.Clock.Now()
	wall := now.Round(0).Sub(at.Round(0))
	return now.Sub(at) > maxAge || wall > maxAge || wall < -maxAge
}

// answered takes down an answer that is no success.
func (it *item) answered(ctx context.Context, f *engine.Fault) (again bool, err error) {
	to := afterAct(f.Kind)
	if err := it.move(ctx, to, note{reason: string(f.Kind), detail: f.Detail, http: f.HTTP, request: f.Request}); err != nil {
		return false, err
	}
	switch {
	case stops(f.Kind):
		return false, stopped{string(f.Kind), f.Detail}
	case to.Terminal():
		return false, nil
	}
	return true, it.pause(ctx, it.backoff(it.entry.Attempt, f))
}

// end writes what a look came to.
func (it *item) end(ctx context.Context, to engine.StepState, l look) error {
	n := note{reason: l.reason, detail: l.detail, http: l.seen.HTTP, after: l.seen.Digest()}
	switch {
	case l.reason == reasonWithdrawn, l.reason == reasonExpired:
		to = engine.StateSkippedApproval
	case to == engine.StateDone && it.entry.State != engine.StateAcked:
		n.reason, n.detail = reasonLostAnswer, "seen to be done after the answer was lost: by us, or by somebody at the same moment"
	case to == engine.StateGoneAfterIntent:
		n.reason, n.detail = reasonLostAnswer, "gone after the answer was lost: by us, or by somebody at the same moment"
	case to == engine.StateGoneBefore:
		n.reason, n.detail = reasonAbsent, "gone before this step's turn; nothing was sent"
	}
	return it.move(ctx, to, n)
}

// verify looks until the acknowledged effect is seen.
func (it *item) verify(ctx context.Context) error {
	began := it.job.Clock.Now()
	for n := 1; ; n++ {
		seen, err := it.remedy.Read(context.WithoutCancel(ctx), it.live.Client, it.step)
		fault, err := faultOf(err)
		switch {
		case err != nil:
			return err
		case fault != nil && stops(fault.Kind):
			return stopped{string(fault.Kind), fault.Detail}
		case fault == nil:
			if to := afterLook(engine.StateAcked, it.effect(seen), it.remedy.Removes); to != engine.StateAcked {
				return it.move(ctx, to, note{http: it.entry.HTTP, request: it.entry.Request, after: seen.Digest()})
			}
		}
		if it.job.Clock.Now().Sub(began) >= patience {
			return it.unseen(ctx, fault)
		}
		if err := it.pause(ctx, it.backoff(n, fault)); err != nil {
			return err
		}
	}
}

// unseen gives up looking for an effect: the workspace says that it did it, and
// shows that it did not; or it shows nothing.
func (it *item) unseen(ctx context.Context, fault *engine.Fault) error {
	kept := note{http: it.entry.HTTP, request: it.entry.Request}
	if fault != nil {
		kept.reason, kept.detail = reasonUnreadable, fault.Detail
		return it.move(ctx, engine.StateAcked, kept)
	}
	kept.reason, kept.detail = reasonStillAlive, fmt.Sprintf("acknowledged, but not seen to be done within %s", patience)
	return it.move(ctx, engine.StateUnresolved, kept)
}

// effect is the sight of a target after the request, when all that counts is
// whether the end is reached.
func (it *item) effect(seen engine.Observation) sight {
	switch {
	case seen.Absent && it.remedy.OnToken():
		return sightGone
	case it.remedy.Reached(it.step, seen):
		return sightReached
	}
	return sightClear
}

// look asks until an answer tells something. A nil look means that the step
// rests where it is, with the reason written down.
func (it *item) look(ctx context.Context) (*look, error) {
	for n := 1; ; n++ {
		l, fault, err := it.lookOnce(context.WithoutCancel(ctx), n)
		if err != nil {
			return nil, err
		}
		if fault == nil {
			return l, nil
		}
		if done, err := it.unread(ctx, fault, n); done {
			return nil, err
		}
		if err := it.pause(ctx, it.backoff(n, fault)); err != nil {
			return nil, err
		}
	}
}

// lookOnce looks at the target for the n-th time (from 1), and says what that means for
// the step. What a step on a workspace would break is counted anew before that: to list
// many tokens takes longer than a look may be old.
func (it *item) lookOnce(ctx context.Context, n int) (*look, *engine.Fault, error) {
	l := &look{}
	if remedy.Endangered(it.step) != nil {
		var err error
		l.stake, err = it.job.Judge.Stake(ctx, it.step, it.live.Now())
		if fault, err := faultOf(err); fault != nil || err != nil {
			return nil, fault, err
		}
	}
	l.at = it.job.Clock.Now()
	seen, err := it.remedy.Read(ctx, it.live.Client, it.step)
	fault, err := faultOf(err)
	if fault == nil && err == nil && seen.Absent && it.remedy.OnToken() && it.entry.Attempt == 0 {
		fault, err = it.listedStill(ctx, n)
	}
	if fault != nil || err != nil {
		return nil, fault, err
	}
	l.seen = seen
	fault, err = faultOf(it.judge(ctx, l))
	return l, fault, err
}

// listedStill is the fault of a single look that does not find a token which
// the list holds. Gone before is told only when both agree: one wrong answer
// must not close a step. The list is read again from the second look on.
func (it *item) listedStill(ctx context.Context, n int) (*engine.Fault, error) {
	disagree := &engine.Fault{Kind: faultListed, Detail: "the workspace says that the token does not exist, and lists it"}
	if known, read := it.latest[it.step.WorkspaceID]; read && !known.has(it.step.Target) {
		return nil, nil
	}
	if n == 1 {
		return disagree, nil
	}
	listed, err := it.list(ctx, it.step.WorkspaceID)
	switch {
	case err != nil:
		return &engine.Fault{Kind: engine.FaultUnclear, Detail: "list tokens: " + err.Error()}, nil //nolint:nilerr // looked at again
	case listed.has(it.step.Target):
		return disagree, nil
	}
	return nil, nil
}

// unread decides what a look that failed means. Nothing was sent, so that a
// step that has not begun can be called refused.
func (it *item) unread(ctx context.Context, f *engine.Fault, n int) (done bool, err error) {
	why := note{reason: string(f.Kind), detail: f.Detail, http: f.HTTP, request: f.Request}
	switch {
	case stops(f.Kind):
		return true, errors.Join(it.move(ctx, it.entry.State, why), stopped{string(f.Kind), f.Detail})
	case f.Kind == engine.FaultForbidden && it.entry.State == engine.StatePending:
		return true, it.move(ctx, engine.StateRefused, why)
	case n < maxLooks && f.Kind != engine.FaultForbidden && f.Kind != engine.FaultRejected:
		return false, nil
	}
	if f.Kind != engine.FaultForbidden && f.Kind != faultListed {
		why.reason = reasonUnreadable
	}
	return true, it.move(ctx, it.entry.State, why)
}

// backoff is how long to wait before try n+1, and never less than asked.
func (it *item) backoff(n int, f *engine.Fault) time.Duration {
	d := min(backoffMost, time.Second<<min(n-1, 10)/2)
	if f != nil {
		d = max(d, f.Wait)
	}
	return d
}

func (it *item) pause(ctx context.Context, d time.Duration) error {
	it.job.Tell(Event{Kind: EventWaiting, Workspace: it.live.Name, Step: it.step, State: it.entry.State, Detail: d.String()})
	if err := it.job.Clock.Sleep(ctx, d); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// note is what a move tells besides the state.
type note struct {
	reason, detail string
	http           int
	request        string
	after          string
}

func (it *item) move(ctx context.Context, to engine.StepState, n note) error {
	next := it.entry
	next.State, next.Reason, next.Detail = to, n.reason, n.detail
	next.HTTP, next.Request, next.After = n.http, n.request, n.after
	return it.write(ctx, next)
}

// write moves the step in the journal, durably, whatever becomes of ctx.
func (it *item) write(ctx context.Context, next engine.Entry) error {
	next.At = it.live.Now().UnixMilli()
	if err := it.job.Journal.Move(context.WithoutCancel(ctx), it.entry.State, next); err != nil {
		return err
	}
	it.entry = next
	return nil
}

// faultOf tells a fault, which the machine knows, from an error, which ends the run.
func faultOf(err error) (*engine.Fault, error) {
	var fault *engine.Fault
	if errors.As(err, &fault) {
		return fault, nil
	}
	return nil, err
}
