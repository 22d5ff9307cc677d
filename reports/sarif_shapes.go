package reports

import (
	"compress/flate"
	"fmt"

	"patrol/engine"
)

type sarifText struct {
	Text string `json:"text"`
}

type sarifTool struct {
	Driver sarifComponent `json:"driver"`
}

type sarifComponent struct {
	Name     string      `json:"name"`
	Version  string      `json:"version,omitempty"`
	Language string      `json:"language"`
	Rules    []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID         string              `json:"id"`
	Name       string              `json:"name"`
	Short      sarifText           `json:"shortDescription"`
	Full       sarifText           `json:"fullDescription"`
	Help       sarifText           `json:"help"`
	Default    sarifConfiguration  `json:"defaultConfiguration"`
	Properties sarifRuleProperties `json:"properties"`
}

type sarifConfiguration struct {
	Level   string `json:"level"`
	Enabled *bool  `json:"enabled,omitempty"` // absent: it is
}

type sarifRuleProperties struct {
	Tags     []string `json:"tags"`
	Severity string   `json:"security-severity,omitempty"`
}

// sarifLanguage is that of all texts that are ours.
const sarifLanguage = "en-US"

type sarifAutomation struct {
	ID          string     `json:"id"`
	Description *sarifText `json:"description,omitempty"`
}

type sarifInvocation struct {
	Successful    bool                `json:"executionSuccessful"`
	Notifications []sarifNotification `json:"toolExecutionNotifications"`
}

type sarifNotification struct {
	Level      string      `json:"level"`
	Message    sarifText   `json:"message"`
	Descriptor sarifRef    `json:"descriptor"`
	Rule       *sarifIndex `json:"associatedRule,omitempty"`
}

type sarifRef struct {
	ID string `json:"id"`
}

type sarifIndex struct {
	ID    string `json:"id"`
	Index int    `json:"index"`
}

type sarifResult struct {
	RuleID       string                `json:"ruleId"`
	RuleIndex    int                   `json:"ruleIndex"`
	Level        string                `json:"level"`
	Message      sarifText             `json:"message"`
	Locations    []sarifLocation       `json:"locations"`
	Fingerprints map[string]string     `json:"partialFingerprints"`
	Suppressions []sarifSuppression    `json:"suppressions,omitempty"`
	Provenance   *sarifProvenance      `json:"provenance,omitempty"` // nil: not known
	Properties   sarifResultProperties `json:"properties"`
}

// sarifProvenance tells since when a result stands.
type sarifProvenance struct {
	First string `json:"firstDetectionTimeUtc"`
}

type sarifLocation struct {
	Physical sarifPhysical  `json:"physicalLocation"`
	Logical  []sarifLogical `json:"logicalLocations"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
	Region   sarifRegion   `json:"region"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

type sarifRegion struct {
	StartLine int `json:"startLine"`
}

type sarifLogical struct {
	Name string `json:"name"`
	Full string `json:"fullyQualifiedName"`
	Kind string `json:"kind"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Status        string `json:"status"`
	Justification string `json:"justification"`
}

type sarifResultProperties struct {
	Severity    engine.Severity `json:"severity"`
	Status      engine.Status   `json:"status"`
	Workspace   string          `json:"workspace"`
	WorkspaceID string          `json:"workspace_id"`
	Owner       string          `json:"owner,omitempty"`
	Evidence    map[string]any  `json:"evidence,omitempty"`
	Remedy      string          `json:"remedy,omitempty"`
}

// automation names a run. Code scanning takes what stands before the last
// slash for the category, and one run of each category. What would be has
// categories of its own, so that it closes no alert of what is.
func automation(r engine.Report, run int) sarifAutomation {
	a := sarifAutomation{ID: "patrol"}
	if text := WhatIf(r); text != "" {
		a = sarifAutomation{"patrol-what-if", &sarifText{plainSARIF(text)}}
	}
	if run > 1 {
		a.ID += fmt.Sprintf("-%d", run)
	}
	a.ID += "/"
	return a
}

// packMeter counts what a file takes once compressed.
type packMeter struct {
	packed int64
	flate  *flate.Writer
}

func newPackMeter() *packMeter {
	m := &packMeter{}
	m.flate, _ = flate.NewWriter((*packCounter)(m), flate.BestSpeed) // the level is valid
	return m
}

func (m *packMeter) Write(b []byte) (int, error) { return m.flate.Write(b) }

type packCounter packMeter

func (c *packCounter) Write(b []byte) (int, error) {
	c.packed += int64(len(b))
	return len(b), nil
}
