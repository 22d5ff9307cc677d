package main

import (
	"fmt"
	"math"
	"time"

	"patrol/collectors"
	"patrol/engine"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress tells what collection is doing: a bar per workspace on a terminal,
// plain lines elsewhere for those who asked for details. Warnings are always told.
// The second function ends the bars.
func (a *app) progress(workspaces int) (func(collectors.Event), func()) {
	if !a.env.stderrTerminal || a.quiet || a.logFormat == "json" {
		return a.tellEvent, func() {}
	}
	bars := mpb.New(mpb.WithOutput(a.env.stderr), mpb.WithWidth(min(a.env.width, 100)), mpb.WithRefreshRate(150*time.Millisecond), mpb.WithAutoRefresh())
	sections := int64(len(collectors.All()))
	whole := wholeBar(bars, workspaces)
	open := map[string]*mpb.Bar{}
	var warnings []collectors.Event // told when the bars no longer own the terminal
	tell := func(e collectors.Event) {
		switch e.Kind {
		case collectors.EventStarted:
			if open[e.Workspace] == nil {
				open[e.Workspace] = newBar(bars, sections, e.Workspace)
			}
		case collectors.EventDone:
			advance(open[e.Workspace], e)
			if e.Section == "" {
				whole.Increment()
			}
		case collectors.EventWarning, collectors.EventNote:
			warnings = append(warnings, e)
		}
	}
	return tell, func() {
		whole.Abort(true)
		for _, bar := range open {
			bar.Abort(true)
		}
		bars.Wait()
		for _, warning := range warnings {
			a.tellEvent(warning)
		}
	}
}

// wholeBar counts the workspaces that are done and estimates the time left.
func wholeBar(bars *mpb.Progress, workspaces int) *mpb.Bar {
	return bars.AddBar(int64(workspaces),
		mpb.BarPriority(math.MaxInt), // below the others
		mpb.PrependDecorators(decor.Name("workspaces ")),
		mpb.AppendDecorators(decor.CountersNoUnit("%d/%d read "), decor.AverageETA(decor.ET_STYLE_GO)))
}

func newBar(bars *mpb.Progress, total int64, name string) *mpb.Bar {
	return bars.AddBar(total,
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(clip(engine.SafeText(name), 24)+" ")),
		mpb.AppendDecorators(decor.CountersNoUnit("%d/%d sections "), decor.Elapsed(decor.ET_STYLE_GO)))
}

// advance moves a workspace's bar on: by one for a section, to the end for the workspace.
func advance(bar *mpb.Bar, e collectors.Event) {
	switch {
	case bar == nil:
	case e.Section == "":
		bar.SetTotal(-1, true)
	default:
		bar.Increment()
	}
}

func (a *app) tellEvent(e collectors.Event) {
	if e.Kind == collectors.EventWarning {
		a.say("warning: %s: %s", e.Workspace, e.Detail)
		return
	}
	if e.Kind == collectors.EventNote {
		a.say("%s: %s", e.Workspace, e.Detail)
		return
	}
	a.detail("%s", eventText(e))
}

func eventText(e collectors.Event) string {
	where := e.Workspace
	if e.Section != "" {
		where += " " + string(e.Section)
	}
	text := fmt.Sprintf("%s: %s", where, e.Kind)
	if e.Coverage != nil {
		text += fmt.Sprintf(" %s, %d rows", e.Coverage.Status, e.Coverage.Count)
	}
	if e.Detail != "" {
		text += " " + e.Detail
	}
	return text
}

// clip cuts text for a narrow place.
func clip(text string, width int) string {
	if runes := []rune(text); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return text
}
