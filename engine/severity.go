package engine

import (
	"fmt"
	"strings"
)

// Severity grades a policy. The zero value is invalid, so that a forgotten
// severity cannot pass for the mildest.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
	Info     Severity = "info"
)

// Severities lists all severities, worst first: the order of every report.
func Severities() []Severity { return []Severity{Critical, High, Medium, Low, Info} }

// SeverityCounts are the counts that are not 0 for people, worst first: "1 critical", "30 high".
func SeverityCounts(count func(Severity) int) (texts []string) {
	for _, severity := range Severities() {
		if n := count(severity); n > 0 {
			texts = append(texts, Comma(n)+" "+string(severity))
		}
	}
	return texts
}

// Words are the severities as they are written.
func (Severity) Words() []string { return strings.Split(joinWords(Severities()), ", ") }

// Rank is 0 for the worst severity and grows as severity falls; an unknown
// severity ranks after all others.
func (s Severity) Rank() int {
	for rank, known := range Severities() {
		if s == known {
			return rank
		}
	}
	return len(Severities())
}

// AtLeast reports whether s is as bad as limit, or worse.
func (s Severity) AtLeast(limit Severity) bool { return s.Rank() <= limit.Rank() }

// ParseSeverity reads a severity in any letter case.
func ParseSeverity(text string) (Severity, error) {
	s := Severity(strings.ToLower(strings.TrimSpace(text)))
	if s.Rank() == len(Severities()) {
		return "", fmt.Errorf("severity %q: want one of %s", text, joinWords(Severities()))
	}
	return s, nil
}

// Threshold says from which severity on a finding fails the run.
// The zero value fails on nothing ("none").
type Threshold struct{ least Severity }

// FailOn makes the threshold that least and anything worse fails.
func FailOn(least Severity) Threshold { return Threshold{least} }

// ParseThreshold reads a severity or "none".
func ParseThreshold(text string) (Threshold, error) {
	if strings.EqualFold(strings.TrimSpace(text), "none") {
		return Threshold{}, nil
	}
	s, err := ParseSeverity(text)
	if err != nil {
		return Threshold{}, fmt.Errorf("fail-on %q: want one of %s, none", text, joinWords(Severities()))
	}
	return Threshold{s}, nil
}

// Fails reports whether a failed result of severity s fails the run.
func (t Threshold) Fails(s Severity) bool { return t.least != "" && s.AtLeast(t.least) }

func (t Threshold) String() string {
	if t.least == "" {
		return "none"
	}
	return string(t.least)
}

func joinWords[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}
