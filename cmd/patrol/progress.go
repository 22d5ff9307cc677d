package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"patrol/collectors"
	"patrol/engine"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// mostBars is how many workspaces have a bar at once. An account has more in
// hand, but nobody reads more, and they must fit the terminal.
const mostBars = 8

// progress shows what collection is doing: bars on a terminal, plain lines
// elsewhere with --verbose. Warnings are always printed, on a
// terminal when the bars no longer own it; those alike of many workspaces in one
// line. The second function ends all that.
func (a *app) progress(workspaces int) (func(collectors.Event), func()) {
	b, end := (*bars)(nil), func() {}
	if a.env.stderrTerminal && !a.quiet && a.logFormat != jsonFormat {
		b = newBars(a.env.stderr, a.env.width, barsFor(workspaces, a.env.height), workspaces,
			mpb.WithRefreshRate(150*time.Millisecond), mpb.WithAutoRefresh())
		end = b.end
	}
	const mostAlike = 3
	met := map[string][]collectors.Event{} // by what they say, numbers aside
	var later []collectors.Event
	tell := func(e collectors.Event) {
		if e.Kind != collectors.EventWarning && e.Kind != collectors.EventNote {
			if b != nil {
				b.see(e)
			} else {
				a.sayEvent(e)
			}
			return
		}
		alike := strings.Map(func(r rune) rune {
			if unicode.IsDigit(r) {
				return -1
			}
			return r
		}, e.Detail)
		met[alike] = append(met[alike], e)
		switch {
		case len(met[alike]) > mostAlike && !a.verbose:
		case b != nil:
			later = append(later, e)
		default:
			a.sayEvent(e)
		}
	}
	return tell, func() {
		end()
		for _, e := range later {
			a.sayEvent(e)
		}
		for _, alike := range engine.SortedKeys(met) {
			if events := met[alike]; len(events) > mostAlike && !a.verbose {
				last := events[len(events)-1]
				if more := len(events) - mostAlike - 1; more > 0 {
					last.Workspace = fmt.Sprintf("%s and %d more", last.Workspace, more)
				}
				a.sayEvent(last)
			}
		}
	}
}

// stage shows how far a stage is, as soon as it takes longer than a second: in a
// bar on a terminal, elsewhere in a line each ten seconds. Of a total of 0 the rows
// done are shown alone. step may be called by several goroutines.
func (a *app) stage(what, rows string, total int) (step, end func()) {
	started := time.Now()
	var lock sync.Mutex
	var all *mpb.Progress
	var bar *mpb.Bar
	told := started
	var done atomic.Int64
	onTerminal := a.env.stderrTerminal && !a.quiet && a.logFormat != jsonFormat
	step = func() {
		n := done.Add(1)
		if n%64 != 0 || time.Since(started) < time.Second {
			return
		}
		lock.Lock()
		defer lock.Unlock()
		switch {
		case !onTerminal && time.Since(told) >= 10*time.Second:
			told = time.Now()
			a.say("%s: %s so far", what, engine.Plural(int(n), rows))
		case !onTerminal:
		case bar == nil:
			all = mpb.New(mpb.WithOutput(a.env.stderr), mpb.WithWidth(min(a.env.width, 100)), mpb.WithRefreshRate(150*time.Millisecond), mpb.WithAutoRefresh())
			counter := decor.CountersNoUnit("%d/%d " + rows + "s")
			if total == 0 {
				counter = decor.CurrentNoUnit("%d " + rows + "s")
			}
			bar = all.AddBar(int64(total), mpb.PrependDecorators(decor.Name(nameColumn(what))), mpb.AppendDecorators(counter))
		default:
			bar.SetCurrent(n)
		}
	}
	return step, func() {
		lock.Lock()
		defer lock.Unlock()
		if bar != nil {
			bar.Abort(true)
			all.Wait()
		}
	}
}

// barsFor leaves room for the bar of all workspaces and for the cursor.
func barsFor(workspaces, height int) int {
	return max(min(workspaces, mostBars, height-3), 0)
}

// bars are a fixed number of lines, each of which shows one workspace after
// another, above one that counts them. Lines that came and went with their
// workspaces would move all others.
type bars struct {
	all   *mpb.Progress
	whole *mpb.Bar
	lines []*barLine
}

// barLine is one line.
type barLine struct {
	bar       *mpb.Bar
	workspace string       // whose it is now; "" is free
	name      atomic.Value // string, of the last one; the bars are drawn by another goroutine
}

func newBars(w io.Writer, width, lines, workspaces int, refresh ...mpb.ContainerOption) *bars {
	b := &bars{all: mpb.New(append(refresh, mpb.WithOutput(w), mpb.WithWidth(min(width, 100)))...)}
	for range lines {
		line := &barLine{}
		line.name.Store("")
		line.bar = b.all.AddBar(0, // without a total of its own, so that it never ends by itself
			mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return line.name.Load().(string) })),
			mpb.AppendDecorators(decor.CountersNoUnit("%d/%d sections")))
		line.bar.SetTotal(int64(len(collectors.All())), false)
		b.lines = append(b.lines, line)
	}
	b.whole = b.all.AddBar(int64(workspaces), // counts the workspaces that are done, and estimates the time left
		mpb.BarPriority(math.MaxInt), // below the others
		mpb.PrependDecorators(decor.Name(nameColumn("workspaces"))),
		mpb.AppendDecorators(decor.CountersNoUnit("%d/%d read "), decor.AverageETA(decor.ET_STYLE_GO)))
	return b
}

// nameColumn makes names equally wide, so that bars begin in one column.
func nameColumn(name string) string {
	const width = 24
	return runewidth.FillRight(runewidth.Truncate(engine.SafeText(name), width, "…"), width) + " "
}

func (b *bars) see(e collectors.Event) {
	var line, free *barLine
	for _, l := range b.lines {
		if l.workspace == e.Workspace {
			line = l
		} else if l.workspace == "" && free == nil {
			free = l
		}
	}
	switch {
	case e.Kind == collectors.EventStarted && line == nil && free != nil:
		free.workspace = e.Workspace
		free.name.Store(nameColumn(e.Workspace))
		free.bar.SetCurrent(0)
	case e.Kind == collectors.EventDone && e.Section == "":
		b.whole.Increment()
		if line != nil {
			line.bar.SetCurrent(int64(len(collectors.All())))
			line.workspace = ""
		}
	case e.Kind == collectors.EventDone && line != nil:
		line.bar.Increment()
	}
}

func (b *bars) end() {
	b.whole.Abort(true)
	for _, line := range b.lines {
		line.bar.Abort(true)
	}
	b.all.Wait()
}

func (a *app) sayEvent(e collectors.Event) {
	switch e.Kind {
	case collectors.EventWarning:
		a.say("warning: %s: %s", e.Workspace, e.Detail)
		return
	case collectors.EventNote:
		a.say("%s: %s", e.Workspace, e.Detail)
		return
	}
	text := e.Workspace
	if e.Section != "" {
		text += " " + string(e.Section)
	}
	text += fmt.Sprintf(": %s", e.Kind)
	switch c := e.Coverage; {
	case c == nil:
	case !c.Requested():
		text += " not read"
	case c.Usable():
		text += fmt.Sprintf(" %s, %s", c.Status, plural(c.Count, "row"))
	default:
		text += " " + string(c.Status)
	}
	if e.Detail != "" {
		text += " " + e.Detail
	}
	a.detail("%s", text)
}
