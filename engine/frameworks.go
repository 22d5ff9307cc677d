package engine

import (
	"cmp"
	"slices"
	"strings"
)

// Framework is where the audit stands on one framework.
type Framework struct {
	Name     string
	Controls []Control // only those that a policy speaks to, by id
}

// Control is where the audit stands on one control of a framework.
type Control struct {
	ID          string
	Requirement string   // in our words; "" for a control that only a foreign policy names
	Policies    []string // ids, worst severity first
	Status      ControlStatus
	Tally       Tally // results of all its policies
	// Off says which of its policies the configuration switches off, and where.
	Off []string
	// Complete tells that all its policies ran and came to a verdict everywhere.
	Complete bool
}

// ControlStatus says whether a control is met, as far as policies tell.
type ControlStatus string

// The states of a control. A known failure (a baselined one, too) means not
// met, even where other data is missing; an accepted exception does not. A
// control is never met on data that could not be read.
const (
	ControlMet         ControlStatus = "met"
	ControlNotMet      ControlStatus = "not_met"
	ControlIncomplete  ControlStatus = "incomplete"   // no failure is known, but not everything was judged
	ControlNotAssessed ControlStatus = "not_assessed" // nothing to judge
)

// Frameworks tells where the audit stands, framework by framework. An audit of
// one framework speaks of that one only; any other choice of policies leaves
// controls incomplete, because policies of theirs may be missing.
func (r Report) Frameworks() []Framework {
	partial := r.Narrowed && r.Framework == ""
	byName := map[string]map[string][]PolicyReport{}
	for _, p := range r.Policies {
		for name, controls := range p.Policy.Controls {
			for _, control := range controls {
				if !r.covers(name, control) {
					continue
				}
				if byName[name] == nil {
					byName[name] = map[string][]PolicyReport{}
				}
				byName[name][control] = append(byName[name][control], p)
			}
		}
	}
	var list []Framework
	for _, name := range SortedKeys(byName) {
		list = append(list, newFramework(name, byName[name], partial))
	}
	return list
}

// covers tells whether the audit was about a control.
func (r Report) covers(framework, control string) bool {
	name, only, _ := strings.Cut(r.Framework, ":")
	return name == "" || name == framework && (only == "" || only == control)
}

func newFramework(name string, controls map[string][]PolicyReport, partial bool) Framework {
	f := Framework{Name: name}
	for id, policies := range controls {
		f.Controls = append(f.Controls, newControl(name, id, policies, partial))
	}
	slices.SortFunc(f.Controls, func(a, b Control) int { return compareControls(a.ID, b.ID) })
	return f
}

func newControl(framework, id string, policies []PolicyReport, partial bool) Control {
	c := Control{ID: id, Requirement: Requirement(framework, id), Tally: Tally{}}
	for _, p := range policies {
		c.Policies = append(c.Policies, p.Policy.ID)
		if p.Policy.Off != "" && p.Tally.Evaluated() == 0 {
			c.Off = append(c.Off, p.Policy.ID+" "+p.Policy.OffWhere())
		}
		for status, count := range p.Tally {
			c.Tally[status] += count
		}
	}
	c.Complete = !partial && c.Tally[Unknown]+c.Tally[Errored] == 0 && len(c.Off) == 0
	c.Status = c.status()
	return c
}

func (c Control) status() ControlStatus {
	switch {
	case c.Tally[Fail]+c.Tally[Baselined] > 0:
		return ControlNotMet
	case len(c.Off) == len(c.Policies):
		return ControlNotAssessed
	case !c.Complete:
		return ControlIncomplete
	case c.Tally.Evaluated() == c.Tally[NotApplicable]:
		return ControlNotAssessed
	}
	return ControlMet
}

// compareControls orders ids as their frameworks do: A.5.9 before A.5.16.
func compareControls(a, b string) int {
	x, y := splitID(a), splitID(b)
	for i := range min(len(x), len(y)) {
		if order := comparePart(x[i], y[i]); order != 0 {
			return order
		}
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(a, b))
}

func splitID(id string) []string {
	var parts []string
	for i := 0; i < len(id); {
		j := i + 1
		for j < len(id) && digit(id[j]) == digit(id[i]) {
			j++
		}
		parts = append(parts, id[i:j])
		i = j
	}
	return parts
}

func digit(b byte) bool { return b >= '0' && b <= '9' }

func comparePart(a, b string) int {
	if digit(a[0]) && digit(b[0]) {
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	}
	return cmp.Compare(a, b)
}
