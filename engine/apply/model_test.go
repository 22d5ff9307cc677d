package apply

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/remedy"
)

// The model is every interleaving of two appliers of one approved token, one
// journal and one workspace: two crashes, requests and answers that are lost or
// come late, and a second applier that takes over at any moment, also from one
// that merely sleeps. Meanwhile two of these happen, in any order: the token
// drifts, somebody else removes it, its owner comes back so that no policy finds
// fault any more. Or one of them, while another workspace answers at the same
// address for a while, and a look is answered with a 404 in each of its words. Where a
// step goes is decided by the very functions that the machine uses. What must
// hold in every state:
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
	ownerOnce    bool // reads the owner once a run
	anyNotFound  bool // takes every 404 for a token that is gone
	anyWorkspace bool // takes the answer of whatever workspace
}

type world struct {
	alive, drifted bool
	back           bool // the owner is: the policies find no fault
	elsewhere      bool // another workspace answers
	moves, odd     int8 // how often that may change; looks that may be answered with an odd 404
	deletedBy      who
	late           int8 // requests on their way whose sender gave up
	state          place
	intended       bool
	epoch          int8
	proc           [2]proc
	crashes        int8
	events         int8 // that may still happen
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
	knewBack  bool // whether the owner was back when the run began
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
	happens := func(name string, may bool, change func(*world)) {
		if may && w.events > 0 {
			n := w
			n.events--
			change(&n)
			emit(nature, name, n, "")
		}
	}
	happens("the token drifts", w.alive && !w.drifted, func(n *world) { n.drifted = true })
	happens("somebody else removes it", w.alive, func(n *world) { n.alive, n.deletedBy = false, other })
	happens("the owner comes back", w.alive && !w.back, func(n *world) { n.back = true })
	if w.moves > 0 && !w.elsewhere {
		n := w
		n.elsewhere = true
		n.moves--
		emit(nature, "another workspace answers", n, "")
	}
	if w.elsewhere {
		n := w
		n.elsewhere = false
		emit(nature, "the workspace answers again", n, "")
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
				*q = proc{at: begun, epoch: n.epoch, local: n.state, began: n.state, knewBack: n.back}
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
	take := func(n *world, q *proc, s sight) string {
		if q.local == acked && s != sightGone {
			q.at, q.to = booking, unresolved // it gave up waiting
			return ""
		}
		to := placeOf(afterLook(q.local.state(), s, true))
		q.sawDrift, q.old, q.to = (n.drifted || n.back) && n.alive, false, to
		q.at = booking
		if to == intent {
			q.at = looked
		}
		return ""
	}
	do("looks", func(n *world, q *proc) string {
		back := n.back
		if m.ownerOnce {
			back = q.knewBack
		}
		switch {
		case n.elsewhere && !m.anyWorkspace:
			*q = proc{} // the run stops: stops(engine.FaultWorkspace)
			return ""
		case n.elsewhere, !n.alive:
			return take(n, q, sightGone)
		case n.drifted && !m.noDriftCheck, back:
			return take(n, q, sightDrifted)
		}
		return take(n, q, sightClear)
	})
	if w.odd > 0 && w.alive && !w.elsewhere {
		for _, word := range []string{"NOT_FOUND", "RESOURCE_DOES_NOT_EXIST", "FEATURE_DISABLED", "ENDPOINT_NOT_FOUND", ""} {
			do("is answered 404 "+word, func(n *world, q *proc) string {
				n.odd--
				absent, _ := remedy.Sort("GET", oddAnswer(word))
				switch {
				case m.anyNotFound:
					return take(n, q, sightGone)
				case absent && q.local == pending:
					return "" // the list holds it: looked at again
				case absent: // the API itself says so, wrongly: believed after an intent, and told as still listed at the end
					return ""
				}
				*q = proc{} // nobody is there whom to ask
				return ""
			})
		}
	}
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
			if n.elsewhere && !m.anyWorkspace { // who answers is another workspace: unresolved, and the run stops
				q.at, q.to, q.message = booking, placeOf(afterAct(engine.FaultWorkspace)), none
				return ""
			}
			if n.elsewhere {
				q.message = replyOK // a token of that id is there, too
				return ""
			}
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
	case w.state == goneBefore && w.alive:
		return "I9: called gone, and is there"
	}
	return ""
}

// oddAnswer is a 404 to a look at a token that is there.
func oddAnswer(word string) engine.Response {
	r := engine.Response{Status: http.StatusNotFound, Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte("<html>")}
	if word != "" {
		r.Header.Set("Content-Type", "application/json")
		r.Body = engine.CompactJSON(map[string]string{"error_code": word})
	}
	return r
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
func (m model) explore(start world) (states int, trace []string) {
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

// starts are where the walks begin: two things happen while every answer is of
// the workspace, or one, in two runs, while some are not.
func starts() []world {
	start := world{alive: true, state: pending, crashes: mostCrashes, events: 2, begins: maxBegins}
	odd := start
	odd.events, odd.moves, odd.odd, odd.begins = 1, 1, 1, 2
	return []world{odd, start}
}

func TestModel(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	for _, start := range starts() {
		states, trace := model{}.explore(start)
		if trace != nil {
			t.Fatalf("after %d states:\n%s", states, strings.Join(trace, "\n"))
		}
		t.Logf("%d states, no violation", states)
	}
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
		"reads the owner once a run": {model{ownerOnce: true}, "I5"},
		"takes every 404 for gone":   {model{anyNotFound: true}, "I9"},
		"takes whoever answers":      {model{anyWorkspace: true}, "I"},
	} {
		t.Run(name, func(t *testing.T) {
			states, trace := 0, []string(nil)
			for _, start := range starts() {
				if states, trace = tc.model.explore(start); trace != nil {
					break
				}
			}
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
