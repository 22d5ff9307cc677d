package eval

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync"
	"testing/fstest"
	"time"

	"patrol/engine"
)

// ServeSandbox is a sandbox: it bounds the resources of this process, reads
// packs and a job from in, judges what it is given, and answers on out. It ends
// when in does, even in the midst of an evaluation. This process must do
// nothing else.
func ServeSandbox(ctx context.Context, in io.Reader, out io.Writer) error {
	if err := boundMemory(); err != nil {
		return err
	}
	if err := boundCPU(2 * loadDeadline); err != nil {
		return err
	}
	debug.SetMemoryLimit(memoryGoal)
	ctx, cancel := context.WithCancelCause(ctx)
	requests := make(chan request)
	go func() { cancel(listenForRequests(in, requests)) }()
	served := make(chan error, 1)
	go func() { served <- serve(ctx, requests, &voice{w: bufio.NewWriter(out)}) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done(): // whoever asked is gone: leave whatever runs
		if cause := context.Cause(ctx); !errors.Is(cause, io.EOF) {
			return cause
		}
		return nil
	}
}

// memoryGoal makes the garbage collector work harder before the bound is hit.
const memoryGoal = 512 << 20

func listenForRequests(in io.Reader, requests chan<- request) error {
	buffered := bufio.NewReader(in)
	for {
		var r request
		if err := readFrame(buffered, 1<<32-1, &r); err != nil {
			return err
		}
		requests <- r
	}
}

// voice writes replies, one at a time.
type voice struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func (v *voice) say(r reply) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := writeFrame(v.w, r); err != nil {
		return err
	}
	return v.w.Flush()
}

func serve(ctx context.Context, requests <-chan request, v *voice) error {
	s := &server{voice: v}
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-requests:
			if err := s.answer(ctx, r); err != nil {
				return err
			}
		}
	}
}

// server is what a sandbox was given so far.
type server struct {
	*voice

	set     *Set
	bench   *bench
	waivers *WaiverJudge
}

func (s *server) answer(ctx context.Context, r request) error {
	switch {
	case r.Judge != nil && s.bench != nil:
		return s.bench.work(ctx, r.Judge, s.voice)
	case r.Waiver != nil && s.waivers != nil:
		return s.waivers.serve(ctx, r.Waiver, s.voice)
	case r.Judge != nil || r.Waiver != nil:
		return errors.New("judge: no job was given")
	}
	if err := s.prepare(ctx, r); err != nil {
		return s.say(reply{Failed: err.Error()})
	}
	return nil
}

// prepare reads packs, or goes on with those it has, and what is to be done with them.
func (s *server) prepare(ctx context.Context, r request) (err error) {
	if err := boundCPU(2 * loadDeadline); err != nil {
		return err
	}
	if s.set == nil || len(r.Packs) > 0 {
		if err := s.load(ctx, r); err != nil {
			return err
		}
	}
	switch {
	case r.Task != nil:
		return s.set.serveTask(ctx, r.Task, s.voice)
	case r.Waivers != nil:
		s.waivers, err = s.set.waiverBench(ctx, r.Waivers)
	case r.Job != nil:
		err = s.take(ctx, r.Job)
	}
	if err != nil {
		return err
	}
	return s.say(reply{Ready: true})
}

func (s *server) load(ctx context.Context, r request) error {
	set, err := Load(ctx, unwired(r.Packs)...)
	if err != nil {
		return err
	}
	s.set = set.With(Options{Deadline: r.Deadline, Workers: 1, NoPrefilter: true})
	return nil
}

// take begins a job in place of the one before.
func (s *server) take(ctx context.Context, job *wireJob) error {
	if s.bench != nil {
		s.bench.leave()
	}
	var err error
	if s.bench, err = newBench(ctx, s.set, job); err != nil {
		return err
	}
	ctx, s.bench.leave = context.WithCancel(ctx)
	go s.bench.watch(ctx, s.voice)
	return nil
}

// bench is a job in a sandbox: one judge.
type bench struct {
	*judge
	assignments map[string]*assignment
	leave       func() // ends the watch
}

func newBench(ctx context.Context, set *Set, job *wireJob) (*bench, error) {
	chosen := set.Select(func(p engine.Policy) bool { return slices.Contains(job.Policies, p.ID) })
	e, err := chosen.prepare(job.job(), nil)
	if err != nil {
		return nil, err
	}
	b := &bench{assignments: map[string]*assignment{}}
	var list []*assignment
	for _, p := range chosen.policies {
		a, err := newAssignment(p, job.Tuning[p.ID])
		if err != nil {
			return nil, err
		}
		b.assignments[p.ID] = a
		list = append(list, a)
	}
	b.judge, err = newJudge(ctx, e, list)
	return b, err
}

// watch stops overdue evaluations, and says that the work goes on as long as it does.
func (b *bench) watch(ctx context.Context, v *voice) {
	go guard(ctx, b.clock, b.deadline, []*judge{b.judge})
	ticker := time.NewTicker(cmp.Or(min(b.deadline/4, 100*time.Millisecond), time.Millisecond))
	defer ticker.Stop()
	last := b.judge.watch.current.Load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := b.judge.watch.current.Load(); now != last {
			last = now
			_ = v.say(reply{Alive: true}) // whoever does not listen is gone
		}
	}
}

// work judges by each policy, and answers after each.
func (b *bench) work(ctx context.Context, w *wireJudge, v *voice) error {
	if err := boundCPU(2*time.Duration(len(w.Policies)*maxOverdue)*b.deadline + 2*loadDeadline); err != nil {
		return err
	}
	subjects := make([]*subject, len(w.Tokens))
	for i, t := range w.Tokens {
		subjects[i] = b.view.newSubject(t)
	}
	for _, id := range w.Policies {
		a := b.assignments[id]
		if a == nil {
			return fmt.Errorf("judge: no policy %s in the job", id)
		}
		if err := v.say(reply{Begun: id}); err != nil {
			return err
		}
		result := &wireResult{Policy: id}
		for i, o := range b.outcomes(ctx, a, subjects) {
			result.add(i, o)
		}
		if err := v.say(reply{Done: result}); err != nil {
			return err
		}
	}
	return nil
}

// outcomes judges all that a policy is given.
func (b *bench) outcomes(ctx context.Context, a *assignment, subjects []*subject) []outcome {
	var outcomes []outcome
	switch a.Resource {
	case engine.ResourceToken:
		for _, s := range subjects {
			outcomes = append(outcomes, a.bounded(b.token(ctx, a, s)))
		}
	case engine.ResourceSecret:
		for _, s := range b.view.secrets {
			outcomes = append(outcomes, a.bounded(b.secret(ctx, a, s)))
		}
	default:
		outcomes = append(outcomes, a.bounded(b.workspace(ctx, a)))
	}
	return outcomes
}

func (w *wireResult) add(i int, o outcome) {
	switch o.status {
	case engine.Pass:
		w.Pass++
	case engine.NotApplicable:
		w.NotApplicable++
	default:
		w.Findings = append(w.Findings, wireOutcome{i, o.status, o.message, o.evidence})
	}
}

// wired is the packs as text, without tests.
func (s sources) wired() []wirePack {
	return s.wiredWhere(func(file *source) bool { return file.kind != testSource })
}

// wiredWhere is those files that are wanted as text. The schemas come first,
// since the first pack that has one says what input is.
func (s sources) wiredWhere(wanted func(*source) bool) []wirePack {
	schemas := map[string][]byte{}
	for _, resource := range engine.SortedKeys(s.schemas) {
		schemas["schemas/"+string(resource)+".json"] = engine.CompactJSON(s.schemas[resource])
	}
	list := []wirePack{{Name: "schemas", Files: schemas}}
	for _, file := range s.files {
		if !wanted(file) {
			continue
		}
		if last := list[len(list)-1]; len(list) == 1 || last.Name != file.pack {
			list = append(list, wirePack{Name: file.pack, Trusted: file.trusted, Files: map[string][]byte{}})
		}
		list[len(list)-1].Files[file.path] = []byte(file.text)
	}
	return list
}

func unwired(packs []wirePack) []Pack {
	var list []Pack
	for _, w := range packs {
		files := fstest.MapFS{}
		for path, text := range w.Files {
			files[path] = &fstest.MapFile{Data: text}
		}
		list = append(list, Pack{Name: w.Name, FS: files, Trusted: w.Trusted})
	}
	return list
}
