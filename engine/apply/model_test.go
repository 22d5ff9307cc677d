package apply

import (
	"fmt"
	"strings"
	"testing"

	"patrol/engine"
)

// The model is every interleaving of two appliers of one approved token, one
// journal and one workspace: two crashes, requests and answers that are lost or
// come late, one drift, one removal by somebody else, and a second applier that
// takes over at any moment, also from one that merely sleeps. Where a step goes
// is decided by the very functions that the machine uses. What must hold in
// every state:
//
//	I2  what we deleted has an intent in the journal
//	I3  an ended step stays as it ended, whoever writes late
//	I4  only the run of the latest epoch writes
//	I5  a request is sent only after a look that saw what was approved, and lately
//	I7  a run that began when the step had ended sends nothing
//	I8  done means gone
//	I9  done means that we did it; gone-before means that we did not
//
// I1, I6, I10, I11 and I12 are about sets of steps, gates and files; the
// properties and the kill harness hold them.
type model struct {
	noIntent     bool // sends without saying so before
	noDriftCheck bool // takes what it sees for what was approved
	ackOn404     bool // books "did not exist" as success
	codeFence    bool // compares the epoch in code, and writes in another transaction
	noAge        bool // acts on a look however old
}

type world struct {
	alive, drifted bool
	deletedBy      who
	late           int8 // requests on their way whose sender gave up
	state          place
	intended       bool
	epoch          int8
	proc           [2]proc
	crashes        int8
	drifts, thirds int8
	begins         int8
}

type who int8

const (
	nobody who = iota
	us
	other
)

type step int8

const (
	off step = iota
	begun
	looked   // saw it clear, will say that it acts
	intended // said so
	checked  // code fence: compared the epoch, will write
	sent
	answered
	booking // will write to
)

type proc struct {
	at        step
	epoch     int8
	local, to place
	message   message
	sawDrift  bool
	old       bool // the look is
	tries     int8
	began     place
}

// place is a state in one byte: the model keeps many.
type place int8

const (
	pending place = iota
	intent
	acked
	unresolved
	done
	goneBefore
	goneAfterIntent
	skippedDrift
)

// places are the states that the model can reach.
func places() [8]engine.StepState {
	return [...]engine.StepState{engine.StatePending, engine.StateIntent, engine.StateAcked, engine.StateUnresolved,
		engine.StateDone, engine.StateGoneBefore, engine.StateGoneAfterIntent, engine.StateSkippedDrift}
}

func (p place) state() engine.StepState { return places()[p] }

// booked names the move that writes the state, without making a text each time.
func (p place) booked() string {
	return [...]string{"books pending", "books intent", "books acked", "books unresolved", "books done", "books gone before", "books gone after intent", "books skipped drift"}[p]
}

func (p place) ended() bool { return p >= done }

func placeOf(s engine.StepState) place {
	for i, known := range places() {
		if known == s {
			return place(i)
		}
	}
	panic("the model does not know state " + string(s))
}

type message int8

const (
	none message = iota
	request
	replyOK
	replyGone
)

const (
	maxBegins   = 3
	mostCrashes = 2
	mostTries   = 2
)

// moves are the successors of a state, by name.
func (m model) moves(w world, emit func(int, string, world, string)) {
	for i := range w.proc {
		m.process(w, i, emit)
	}
	if w.late > 0 {
		n := w
		n.late--
		n.delete()
		emit(nature, "a late request arrives", n, "")
	}
	if w.drifts > 0 && w.alive && !w.drifted {
		n := w
		n.drifts--
		n.drifted = true
		emit(nature, "the token drifts", n, "")
	}
	if w.thirds > 0 && w.alive {
		n := w
		n.thirds--
		n.alive, n.deletedBy = false, other
		emit(nature, "somebody else removes it", n, "")
	}
}

func (w *world) delete() (ok bool) {
	if !w.alive {
		return false
	}
	w.alive, w.deletedBy = false, us
	return true
}

func (m model) process(w world, i int, emit func(int, string, world, string)) {
	p := w.proc[i]
	do := func(name string, change func(*world, *proc) string) {
		n := w
		broken := change(&n, &n.proc[i])
		emit(i, name, n, broken)
	}
	if p.at != off && w.crashes > 0 {
		do("crashes", func(n *world, q *proc) string {
			n.crashes--
			n.orphan(q)
			*q = proc{}
			return ""
		})
	}
	switch p.at {
	case off:
		if w.begins > 0 {
			do("begins", func(n *world, q *proc) string {
				n.begins--
				n.epoch++
				*q = proc{at: begun, epoch: n.epoch, local: n.state, began: n.state}
				return ""
			})
		}
	case begun:
		m.begun(w, p, do)
	case looked:
		do("says that it acts", func(n *world, q *proc) string { return m.write(n, q, intent) })
		m.age(p, do)
	case intended:
		do("sends", func(n *world, q *proc) string { return m.send(n, q) })
		m.age(p, do)
	case checked:
		do("writes", func(n *world, q *proc) string { return m.commit(n, q, q.to) })
	case sent:
		m.sent(p, do)
	case answered, booking:
		do(p.to.booked(), func(n *world, q *proc) string { return m.write(n, q, q.to) })
	}
}

func (m model) age(p proc, do func(string, func(*world, *proc) string)) {
	if !p.old {
		do("sleeps", func(_ *world, q *proc) string { q.old = true; return "" })
	}
}

func (w *world) orphan(p *proc) {
	if p.message == request && w.late < 2 {
		w.late++
	}
}

func (m model) begun(w world, p proc, do func(string, func(*world, *proc) string)) {
	if p.local.ended() || p.tries > mostTries {
		do("ends", func(_ *world, q *proc) string { *q = proc{}; return "" })
		return
	}
	do("looks", func(n *world, q *proc) string {
		s := sightClear
		switch {
		case !n.alive:
			s = sightGone
		case n.drifted && !m.noDriftCheck:
			s = sightDrifted
		}
		if q.local == acked && s != sightGone {
			q.at, q.to = booking, unresolved // it gave up waiting
			return ""
		}
		to := placeOf(afterLook(q.local.state(), s, true))
		q.sawDrift, q.old, q.to = n.drifted && n.alive, false, to
		q.at = booking
		if to == intent {
			q.at = looked
		}
		return ""
	})
}

// send puts the request on its way, unless the look has become too old.
func (m model) send(n *world, q *proc) string {
	if q.old && !m.noAge {
		q.at = begun
		q.tries++
		return ""
	}
	q.at, q.message = sent, request
	switch {
	case q.sawDrift || q.old:
		return "I5: sent after a look that saw drift, or long ago"
	case q.began.ended():
		return "I7: sent by a run that began after the end"
	}
	return ""
}

func (m model) sent(p proc, do func(string, func(*world, *proc) string)) {
	if p.message == request {
		do("reaches the workspace", func(n *world, q *proc) string {
			q.message = replyGone
			if n.delete() {
				q.message = replyOK
			}
			return ""
		})
	}
	do("gets no answer", func(n *world, q *proc) string {
		n.orphan(q)
		q.at, q.to, q.message = booking, placeOf(afterAct(engine.FaultUnclear)), none
		return ""
	})
	if p.message == replyOK || p.message == replyGone {
		do("gets the answer", func(_ *world, q *proc) string {
			q.at, q.to = answered, placeOf(afterAct(""))
			if q.message == replyGone && !m.ackOn404 {
				q.to = placeOf(afterAct(faultGone))
			}
			q.message = none
			return ""
		})
	}
}

// write moves the journal: compare-and-set of state and epoch in one go, or,
// for the mutants, in two.
func (m model) write(n *world, q *proc, to place) string {
	q.to = to
	if m.noIntent && to == intent {
		q.at = intended // and says nothing
		return ""
	}
	if m.codeFence {
		if n.epoch != q.epoch {
			*q = proc{}
			return ""
		}
		q.at = checked
		return ""
	}
	if n.epoch != q.epoch || n.state != q.local {
		*q = proc{} // fenced: the run stops
		return ""
	}
	return m.commit(n, q, to)
}

func (m model) commit(n *world, q *proc, to place) string {
	broken := ""
	if n.state.ended() && n.state != to {
		broken = "I3: an ended step was written again"
	}
	if n.epoch != q.epoch && broken == "" && !m.codeFence {
		broken = "I4: written by an overtaken run"
	}
	n.state = to
	n.intended = n.intended || to == intent
	q.local = to
	q.at = begun
	if to == intent {
		q.at = intended
		q.tries++
	}
	return broken
}

// broken tells which invariant a state breaks.
func (w world) broken() string {
	switch {
	case w.deletedBy == us && !w.intended:
		return "I2: deleted without an intent"
	case w.state == done && w.alive:
		return "I8: called done, and is there"
	case w.state == done && w.deletedBy != us:
		return "I9: called ours, and was somebody else's"
	case w.state == goneBefore && w.deletedBy == us:
		return "I9: called somebody else's, and was ours"
	}
	return ""
}

// nature is the actor of what no applier does.
const nature = -1

// origin is how a state was reached first.
type origin struct {
	from  int32 // the state before
	actor int
	by    string
}

func (o origin) String() string {
	if o.actor == nature {
		return o.by
	}
	return fmt.Sprintf("%d %s", o.actor, o.by)
}

// explore walks every reachable state, shortest first, and returns how many
// there are and the trace to the first that breaks something.
func (m model) explore() (states int, trace []string) {
	start := world{alive: true, state: pending, crashes: mostCrashes, drifts: 1, thirds: 1, begins: maxBegins}
	reached, origins := []world{start}, []origin{{from: -1}}
	seen := map[world]struct{}{start: {}}
	var bad string
	var end origin
	for next := 0; next < len(reached) && bad == ""; next++ {
		m.moves(reached[next], func(actor int, name string, n world, broken string) {
			if broken == "" {
				broken = n.broken()
			}
			by := origin{int32(next), actor, name} //nolint:gosec // there are fewer states
			if broken != "" && bad == "" {
				bad, end = broken, by
				return
			}
			if _, known := seen[n]; !known {
				seen[n] = struct{}{}
				reached, origins = append(reached, n), append(origins, by)
			}
		})
	}
	if bad == "" {
		return len(reached), nil
	}
	trace = []string{bad}
	for by := end; by.from >= 0; by = origins[by.from] {
		trace = append([]string{by.String()}, trace...)
	}
	return len(reached), trace
}

func TestModel(t *testing.T) {
	t.Parallel()
	states, trace := model{}.explore()
	if trace != nil {
		t.Fatalf("after %d states:\n%s", states, strings.Join(trace, "\n"))
	}
	t.Logf("%d states, no violation", states)
}

// TestModelHasTeeth: without any one of its precautions the machine breaks, and
// the model finds how.
func TestModelHasTeeth(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		model model
		want  string
	}{
		"no intent":                  {model{noIntent: true}, "I2"},
		"no drift check":             {model{noDriftCheck: true}, "I5"},
		"404 booked as revoked":      {model{ackOn404: true}, "I9"},
		"fence outside transaction":  {model{codeFence: true}, "I3"},
		"acts on a look however old": {model{noAge: true}, "I5"},
	} {
		t.Run(name, func(t *testing.T) {
			states, trace := tc.model.explore()
			if trace == nil {
				t.Fatalf("%d states, and nothing found", states)
			}
			if got := trace[len(trace)-1]; !strings.HasPrefix(got, tc.want) {
				t.Errorf("broke %s, want %s", got, tc.want)
			}
			t.Logf("broken after %d states, in %d steps:\n  %s", states, len(trace)-1, strings.Join(trace, "\n  "))
		})
	}
}
