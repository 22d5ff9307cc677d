package reports

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/defenseunicorns/go-oscal/src/pkg/validation"
	oscaltypes "github.com/defenseunicorns/go-oscal/src/types/oscal-1-1-3"
)

// writtenOSCAL validates the document against the schema and refuses what it
// does not know.
func writtenOSCAL(t *testing.T, r engine.Report) *oscaltypes.AssessmentResults {
	t.Helper()
	var b bytes.Buffer
	if err := writeOSCAL(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	validator, err := validation.NewValidatorDesiredVersion(b.Bytes(), oscalVersion)
	if err != nil {
		t.Fatal(err)
	}
	if err := validator.Validate(); err != nil {
		result, _ := validator.GetValidationResult()
		t.Fatalf("%v: %+v", err, result)
	}
	var models oscaltypes.OscalModels
	decoder := json.NewDecoder(&b)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&models); err != nil {
		t.Fatal(err)
	}
	return models.AssessmentResults
}

func TestOSCAL(t *testing.T) {
	t.Parallel()
	result := writtenOSCAL(t, report()).Results[0]
	evidence, known := 0, map[string]bool{}
	for _, o := range *result.Observations {
		if known[o.UUID] {
			t.Errorf("two observations are %s", o.UUID)
		}
		known[o.UUID] = true
		if o.RelevantEvidence != nil {
			evidence += len(*o.RelevantEvidence)
		}
	}
	if want := len(fixtureFindings()); evidence != want {
		t.Errorf("%d findings in all observations, want %d", evidence, want)
	}
	states := map[string]string{}
	for _, f := range *result.Findings {
		states[f.Target.TargetId] = f.Target.Status.State + " " + f.Target.Status.Reason
		for _, related := range *f.RelatedObservations {
			if !known[related.ObservationUuid] {
				t.Errorf("%s rests on an observation that is not there", f.Title)
			}
		}
	}
	if states["ia-5"] != "not-satisfied fail" || states["iso-27001-2022_A.8.2"] != "not-satisfied other" || states["ac-2.3"] == "" {
		t.Errorf("controls are %v", states)
	}
}

func TestOSCALOfNothing(t *testing.T) {
	t.Parallel()
	for n := range 3 {
		writtenOSCAL(t, many(n))
	}
	writtenOSCAL(t, engine.Report{AsOf: asOf, Findings: table.Known[engine.Finding](nil)})
	writtenOSCAL(t, engine.Report{AsOf: asOf, Findings: table.Known[engine.Finding](nil), Policies: fixturePolicies(nil)[:1], Workspaces: fixtureWorkspaces(1)[:1]})
}

func TestControlID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"nist-800-53r5 IA-5":              "ia-5",
		"nist-800-53r5 AC-2(3)(d)":        "ac-2.3",
		"nist-800-53r5 AC-2(j)":           "ac-2",
		"cis-azure-foundations-6.0 2.1.6": "cis-azure-foundations-6.0_2.1.6",
		"7-own a b/c":                     "_7-own_a_b_c",
	} {
		framework, control, _ := strings.Cut(in, " ")
		if got := controlID(framework, control); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
