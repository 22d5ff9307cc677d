package engine

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
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
	only, onlyControl, _ := strings.Cut(r.Framework, ":")
	byName := map[string]map[string]*Control{}
	for _, p := range r.Policies {
		for name, controls := range p.Policy.Controls {
			for _, id := range controls {
				if only != "" && (name != only || onlyControl != "" && id != onlyControl) {
					continue
				}
				if byName[name] == nil {
					byName[name] = map[string]*Control{}
				}
				c := byName[name][id]
				if c == nil {
					c = &Control{ID: id, Requirement: Requirement(name, id), Tally: Tally{}}
					byName[name][id] = c
				}
				c.Policies = append(c.Policies, p.Policy.ID)
				if p.Policy.Off != "" && p.Tally.Evaluated() == 0 {
					c.Off = append(c.Off, p.Policy.ID+" "+p.Policy.OffWhere())
				}
				for status, count := range p.Tally {
					c.Tally[status] += count
				}
			}
		}
	}
	var list []Framework
	for _, name := range SortedKeys(byName) {
		f := Framework{Name: name}
		for _, c := range byName[name] {
			c.Complete = (!r.Narrowed || r.Framework != "") && c.Tally[Unknown]+c.Tally[Errored] == 0 && len(c.Off) == 0
			switch {
			case c.Tally[Fail]+c.Tally[Baselined] > 0:
				c.Status = ControlNotMet
			case len(c.Off) == len(c.Policies):
				c.Status = ControlNotAssessed
			case !c.Complete:
				c.Status = ControlIncomplete
			case c.Tally.Evaluated() == c.Tally[NotApplicable]:
				c.Status = ControlNotAssessed
			default:
				c.Status = ControlMet
			}
			f.Controls = append(f.Controls, *c)
		}
		slices.SortFunc(f.Controls, func(a, b Control) int { return compareControls(a.ID, b.ID) })
		list = append(list, f)
	}
	return list
}

// idPart is a number in the id of a control, or what stands between numbers.
var idPart = regexp.MustCompile(`[0-9]+|[^0-9]+`)

// compareControls orders ids as their frameworks do, numbers by their value: A.5.9 before
// A.5.16.
func compareControls(a, b string) int {
	return cmp.Or(slices.CompareFunc(idPart.FindAllString(a, -1), idPart.FindAllString(b, -1), func(x, y string) int {
		if m, err := strconv.Atoi(x); err == nil {
			if n, err := strconv.Atoi(y); err == nil {
				return cmp.Compare(m, n)
			}
		}
		return cmp.Compare(x, y)
	}), cmp.Compare(a, b))
}

// Requirement says in our words what a control asks for; "" when it is not one
// of those that the built-in policies speak to. The frameworks' own texts are
// theirs; whoever is audited has them.
func Requirement(framework, control string) string { return requirements()[framework][control] }

// FrameworkTitle is the name of a framework for readers.
func FrameworkTitle(name string) string {
	titles := map[string]string{
		"cis-azure-foundations-6.0": "CIS Microsoft Azure Foundations 6.0",
		"iso-27001-2022":            "ISO/IEC 27001:2022, Annex A",
		"nist-800-53r5":             "NIST SP 800-53 Rev. 5",
		"owasp-nhi":                 "OWASP Non-Human Identities Top 10",
		"pci-dss-4":                 "PCI DSS 4",
		"soc2":                      "SOC 2, common criteria",
	}
	if title, ok := titles[name]; ok {
		return title
	}
	return name
}

func requirements() map[string]map[string]string {
	return map[string]map[string]string{
		"cis-azure-foundations-6.0": {
			"2.1.6": "Restrict who may use Databricks personal access tokens, and let every token expire.",
		},
		"iso-27001-2022": {
			"A.5.3":  "Keep conflicting duties in different hands.",
			"A.5.14": "Protect information that is handed to others.",
			"A.5.15": "Have rules for access, and enforce them.",
			"A.5.16": "Manage identities from their creation to their end.",
			"A.5.17": "Manage secrets that prove an identity: how they are handed out, kept and renewed.",
			"A.5.18": "Grant, review and withdraw access rights by rule.",
			"A.5.36": "Check regularly that rules are kept, and correct what is not.",
			"A.6.5":  "End the access of people who leave or change their work.",
			"A.8.2":  "Restrict and watch privileged access.",
			"A.8.3":  "Restrict access to information to what is needed.",
			"A.8.5":  "Sign in by means as strong as what they protect.",
			"A.8.15": "Keep and protect logs of what happened.",
			"A.8.16": "Watch systems for unusual behaviour.",
			"A.8.20": "Secure and control networks.",
			"A.8.31": "Keep development, test and production apart.",
			"A.8.32": "Make changes to systems by a process, not by chance.",
		},
		"nist-800-53r5": {
			"AC-2":       "Manage accounts over their whole life.",
			"AC-2(3)":    "Disable accounts that ended, are unused, or belong to nobody.",
			"AC-2(3)(b)": "Disable accounts that nobody stands behind any more.",
			"AC-2(3)(d)": "Disable accounts that were unused for a defined time.",
			"AC-2(4)":    "Record when accounts are made, changed or removed.",
			"AC-2(j)":    "Review accounts at defined intervals.",
			"AC-3":       "Enforce who may do what.",
			"AC-4":       "Control where information flows.",
			"AC-5":       "Keep conflicting duties in different hands.",
			"AC-6":       "Give no more rights than the work needs.",
			"AC-12":      "End sessions by rule, not only when the user does.",
			"AC-17":      "Restrict and control access from outside.",
			"AU-12":      "Record the events that an audit needs.",
			"CA-5":       "Keep a plan of known weaknesses and their correction.",
			"CA-7":       "Watch continuously whether controls are in place and work.",
			"CM-3":       "Decide about changes to systems, record them, and review what was changed.",
			"CM-6":       "Set systems up securely, and record each deviation.",
			"CM-7":       "Offer only the functions that are needed, and switch the rest off.",
			"IA-4":       "Manage identifiers: one for each identity, none reused.",
			"IA-5":       "Manage authenticators: issue, protect, renew and revoke them.",
			"IA-5(1)":    "Hold secrets to rules of strength and renewal.",
			"IA-5(7)":    "Keep secrets out of code and other readable text.",
			"IA-8":       "Identify and authenticate those who come from outside the organisation.",
			"IA-9":       "Identify services before they talk to each other.",
			"PL-4":       "Have rules of behaviour, and let users accept them.",
			"RA-7":       "Respond to what assessments find.",
			"SC-7":       "Guard the boundary: only approved connections pass.",
			"SI-4":       "Watch systems for attacks and misuse.",
		},
		"owasp-nhi": {
			"NHI1":  "Take credentials away when their owner or purpose is gone.",
			"NHI2":  "Keep secrets from leaking into readable places.",
			"NHI3":  "Limit what third parties' credentials can do.",
			"NHI4":  "Sign machines in by strong, current means.",
			"NHI5":  "Give machines no more rights than they need.",
			"NHI6":  "Configure cloud sign-in safely.",
			"NHI7":  "Let secrets be short-lived.",
			"NHI8":  "Keep environments apart.",
			"NHI9":  "Use one credential for one purpose.",
			"NHI10": "Let people not use machines' credentials, nor machines people's.",
		},
		"pci-dss-4": {
			"7.2.5":  "Give system and application accounts no more than they need.",
			"8.2.5":  "End the access of people who leave at once.",
			"8.2.6":  "Remove or disable accounts that were unused for 90 days.",
			"8.3.9":  "Renew secrets that are the only proof of identity at least every 90 days.",
			"8.6.1":  "Prevent people from using system accounts unless it is needed.",
			"8.6.2":  "Keep secrets of system accounts out of code and settings.",
			"8.6.3":  "Protect and renew secrets of system accounts as often as their risk asks.",
			"10.2":   "Log who did what, so that unusual use can be found.",
			"10.2.1": "Keep audit logs switched on.",
			"12.3.1": "Justify what is left to one's own risk analysis.",
		},
		"soc2": {
			"CC4.1": "Check whether controls are there and work.",
			"CC6.1": "Protect systems and data by logical access controls.",
			"CC6.2": "Authorise users before they get credentials, and take these back at the end.",
			"CC6.3": "Grant, change and withdraw access by role and least privilege.",
			"CC6.6": "Guard against access from outside the boundary.",
			"CC7.2": "Watch systems for signs of trouble.",
			"CC8.1": "Authorise changes before they are made.",
		},
	}
}
