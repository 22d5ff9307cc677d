package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/eval/sandbox"
	"patrol/engine/policy"
)

func TestStatuses(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	old := "deny contains sprintf(\"is %v days old\", [input.token.age_days]) if input.token.age_days > 20"
	young := func(tk *engine.Token) { tk.Created = ptr(asOf().UnixMilli() - 5*engine.Day) }
	lost := func(tk *engine.Token) {
		tk.Created, tk.Defects = nil, []engine.Defect{{Field: "creation_time", Reason: "bad_timestamp"}}
	}
	expired := func(tk *engine.Token) { tk.Expires = ptr(asOf().UnixMilli()) }
	endless := func(tk *engine.Token) { tk.Expires = ptr(engine.NeverExpires) }
	noExpiry := func(tk *engine.Token) {
		tk.Expires, tk.Defects = nil, []engine.Defect{{Field: "expiry_time", Reason: "missing"}}
	}
	for name, c := range map[string]struct {
		custom, body string
		token        func(*engine.Token)
		want         engine.Status
		message      string
	}{
		"fires":                      {body: old, want: engine.Fail, message: "is 30 days old"},
		"is silent":                  {body: old, token: young, want: engine.Pass},
		"reads what is unknown":      {body: old, token: lost, want: engine.Unknown, message: "unknown: age_days (creation_time: bad_timestamp)"},
		"reads something else":       {body: `deny contains "x" if input.token.comment == ""`, token: lost, want: engine.Pass},
		"does not apply is no gap":   {body: `deny contains "x" if input.token.expires_in_days > 99`, token: endless, want: engine.Pass},
		"unknown is a gap":           {body: `deny contains "x" if input.token.expires_in_days > 99`, token: noExpiry, want: engine.Unknown, message: "unknown: expires_in_days (expiry_time: missing)"},
		"fires beside the unknown":   {body: old + "\n\ndeny contains \"x\" if input.token.expired", token: noExpiry, want: engine.Fail, message: "is 30 days old"},
		"fires only by the unknown":  {body: `deny contains "x" if not input.token.never_expires`, token: noExpiry, want: engine.Unknown, message: "unknown: never_expires (expiry_time: missing)"},
		"live only":                  {body: old, token: expired, want: engine.NotApplicable},
		"expired only":               {custom: "judges: expired", body: old, token: expired, want: engine.Fail, message: "is 30 days old"},
		"expired only, live":         {custom: "judges: expired", body: old, want: engine.NotApplicable},
		"expired only, unknown":      {custom: "judges: expired", body: old, token: noExpiry, want: engine.NotApplicable},
		"all, expired":               {custom: "judges: all", body: old, token: expired, want: engine.Fail, message: "is 30 days old"},
		"all, live":                  {custom: "judges: all", body: old, want: engine.Fail, message: "is 30 days old"},
		"live, unknown expiry":       {body: old, token: noExpiry, want: engine.Fail, message: "is 30 days old"},
		"applicable":                 {body: "applicable if input.token.used\n\n" + old, want: engine.Fail, message: "is 30 days old"},
		"not applicable":             {body: "applicable if input.token.age_days > 99\n\n" + old, want: engine.NotApplicable},
		"applicable false":           {body: "applicable := false\n\n" + old, want: engine.NotApplicable},
		"applicable unknown":         {body: "applicable if input.token.expired\n\n" + old, token: noExpiry, want: engine.Unknown, message: "unknown: expired (expiry_time: missing)"},
		"applicable by the unknown":  {body: "applicable if not input.token.expired\n\n" + old, token: noExpiry, want: engine.Unknown, message: "unknown: expired (expiry_time: missing)"},
		"several messages":           {body: "deny contains \"b\" if input.token.used\n\ndeny contains \"a\" if input.token.used\n\ndeny contains {\"msg\": \"a\"} if input.token.used", want: engine.Fail, message: "a; b"},
		"builtin error":              {body: `deny contains "x" if time.parse_rfc3339_ns(input.token.comment) > 1`, want: engine.Errored, message: "eval_builtin_error"},
		"division by zero":           {body: `deny contains "x" if 1 / (input.token.age_days - 30) > 1`, want: engine.Errored, message: "divide by zero"},
		"conflict":                   {body: "a := 1 if input.token.used\n\na := 2 if input.token.age_days > 1\n\ndeny contains \"x\" if a == 1", want: engine.Errored, message: "eval_conflict_error"},
		"deny a text":                {body: `deny := "x" if input.token.used`, want: engine.Errored, message: "deny is no set"},
		"deny undefined":             {body: `deny := "x" if input.token.age_days > 99`, want: engine.Errored, message: "deny is no set"},
		"deny undefined, applicable": {body: "applicable := true\n\ndeny := \"x\" if input.token.age_days > 99", want: engine.Errored, message: "deny is no set"},
		"deny a whole set":           {body: `deny := {"x" | input.token.used}`, want: engine.Fail, message: "x"},
		"deny an object by key":      {body: `deny[k] := "x" if k := input.token.id`, want: engine.Errored, message: "deny is no set"},
		"deny of numbers":            {body: `deny contains 1 if input.token.used`, want: engine.Errored, message: "neither a string nor an object"},
		"deny without msg":           {body: `deny contains {"message": "x"} if input.token.used`, want: engine.Errored, message: "no text msg"},
		"deny with msg a number":     {body: `deny contains {"msg": 1} if input.token.used`, want: engine.Errored, message: "no text msg"},
	} {
		t.Run(name, func(t *testing.T) {
			status, finding := judged(t, load(t, enginetest.TokenPolicy(c.custom, c.body)), healthy(c.token))
			if status != c.want || !strings.Contains(finding.Message, c.message) {
				t.Errorf("got %s %q, want %s %q", status, finding.Message, c.want, c.message)
			}
			if status.Finding() != (finding.Policy != "") {
				t.Errorf("status %s, finding %+v", status, finding)
			}
		})
	}
}

// Each field of a token, once it is unknown, keeps a policy that reads it from passing.
func TestUnknownOfEachField(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	lost := func(names ...string) func(*engine.Token) {
		return func(tk *engine.Token) {
			for _, name := range names {
				switch name {
				case "creation_time":
					tk.Created = nil
				case "expiry_time":
					tk.Expires = nil
				case "last_used_day":
					tk.LastUsed = nil
				case "owner_id":
					tk.OwnerID = ""
				case "created_by_id":
					tk.CreatorID = ""
				case "created_by_username":
					tk.CreatorName = ""
				}
				tk.Defects = append(tk.Defects, engine.Defect{Field: name, Reason: "bad_type"})
			}
		}
	}
	for _, f := range engine.Fields() {
		field := f.Name
		if strings.Contains(field, ".") || f.Log {
			continue
		}
		set := load(t, enginetest.TokenPolicy("judges: all", fmt.Sprintf(`deny contains "x" if is_null(input.token.%s)`, field)))
		for _, platform := range f.Answer {
			status, finding := judged(t, set, healthy(func(tk *engine.Token) {
				if field == "idle_days" && platform == "creation_time" {
					tk.LastUsed = nil // then its age is its idle time
				}
				lost(platform)(tk)
			}))
			if status != engine.Unknown || !strings.Contains(finding.Message, field+" ("+platform+": bad_type)") {
				t.Errorf("%s without %s: %s %q", field, platform, status, finding.Message)
			}
		}
		if status, _ := judged(t, set, healthy(lost("nothing_of_ours"))); status != engine.Pass {
			t.Errorf("%s with a defect elsewhere: %s", field, status)
		}
	}
}

func TestUnknownOfParties(t *testing.T) {
	t.Parallel()
	for _, field := range enginetest.FieldNames("owner.") {
		set := load(t, enginetest.TokenPolicy("", fmt.Sprintf(`deny contains "x" if is_null(input.owner.%s)`, field)))
		for name, c := range map[string]struct {
			change func(*engine.Party)
			want   engine.Status
		}{
			"known": {func(*engine.Party) {}, engine.Pass},
			"missing": {func(p *engine.Party) {
				*p = engine.Party{ID: p.ID, Kind: engine.Missing, Active: ptr(false), Admin: ptr(false)}
			}, engine.Pass},
			"not read":     {func(p *engine.Party) { *p = engine.Party{ID: p.ID} }, onlyIf(field != "id")},
			"no id":        {func(p *engine.Party) { p.ID = "" }, onlyIf(field == "id")},
			"name or no":   {func(p *engine.Party) { p.Name = "" }, onlyIf(field == "name")},
			"active or no": {func(p *engine.Party) { p.Active = nil }, onlyIf(field == "active")},
			"admin or no":  {func(p *engine.Party) { p.Admin = nil }, onlyIf(field == "admin")},
		} {
			s := healthy(nil)
			c.change(&s.Owner)
			if status, finding := judged(t, set, s); status != c.want {
				t.Errorf("owner.%s, %s: %s %q, want %s", field, name, status, finding.Message, c.want)
			}
		}
	}
}

func onlyIf(unknown bool) engine.Status {
	if unknown {
		return engine.Unknown
	}
	return engine.Pass
}

// Nobody is missing from a directory that was not read whole.
func TestMissingNeedsTheWholeDirectory(t *testing.T) {
	t.Parallel()
	set := load(t, enginetest.TokenPolicy("", `deny contains "gone" if input.owner.kind == "missing"`))
	s := healthy(nil)
	s.Owner = engine.Party{ID: "7", Kind: engine.Missing, Active: ptr(false), Admin: ptr(false)}
	for status, want := range map[engine.CoverageStatus]engine.Status{engine.Complete: engine.Fail, engine.Partial: engine.Unknown} {
		snapshot := covered(func(s *engine.Snapshot) { s.Coverage[engine.SectionPrincipals] = engine.Coverage{Status: status} })
		findings, _ := evaluate(t, set, Job{Snapshot: snapshot, Tokens: rows(s)})
		if len(findings) != 1 || findings[0].Status != want {
			t.Errorf("%s directory: %+v, want %s", status, findings, want)
		}
	}
}

func TestGaps(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	fires := `deny contains "x" if input.token.used`
	limit := `deny contains "x" if input.token.lifetime_days > input.workspace.max_lifetime_days`
	cover := func(section engine.SectionName, c engine.Coverage) func(*engine.Snapshot) {
		return func(s *engine.Snapshot) { s.Coverage[section] = c }
	}
	partly := func(settings string) func(*engine.Snapshot) {
		return func(s *engine.Snapshot) {
			s.Coverage[engine.SectionSettings] = engine.Coverage{Status: engine.Partial}
			s.Documents[engine.SectionSettings] = json.RawMessage(settings)
		}
	}
	for name, c := range map[string]struct {
		resource, custom, body string
		snapshot               func(*engine.Snapshot)
		want                   string // the message; "" for a verdict
	}{
		"covered":                {body: fires},
		"tokens denied":          {body: fires, snapshot: cover("tokens", engine.Coverage{Status: engine.Denied, Reason: "not_admin", Detail: "403"}), want: "not judged: tokens is denied (not_admin): 403"},
		"tokens disabled":        {body: fires, snapshot: cover("tokens", engine.Coverage{Status: engine.Disabled}), want: "not judged: tokens is disabled"},
		"tokens truncated":       {body: fires, snapshot: cover("tokens", engine.Coverage{Status: engine.Truncated}), want: "not judged: tokens is truncated"},
		"tokens not in coverage": {body: fires, snapshot: func(s *engine.Snapshot) { delete(s.Coverage, "tokens") }, want: "not judged: tokens is not_collected"},
		"tokens partial":         {body: fires, snapshot: cover("tokens", engine.Coverage{Status: engine.Partial})},
		"principals failed":      {body: `deny contains "x" if input.owner.admin == false`, snapshot: cover("principals", engine.Coverage{Status: engine.Failed}), want: "not judged: principals is failed"},
		"principals partial":     {body: `deny contains "x" if input.owner.admin == false`, snapshot: cover("principals", engine.Coverage{Status: engine.Partial})},
		"declared only":          {custom: "needs: [grants]", body: fires, snapshot: cover("grants", engine.Coverage{Status: engine.Denied}), want: "not judged: grants is denied"},
		"grants partial":         {custom: "needs: [grants]", body: fires, snapshot: cover("grants", engine.Coverage{Status: engine.Partial}), want: "not judged: grants is partial"},
		"two gaps":               {body: limit, snapshot: func(s *engine.Snapshot) { s.Coverage = nil }, want: "not judged: settings is not_collected; tokens is not_collected"},
		"setting known":          {body: limit, snapshot: partly(`{"maxTokenLifetimeDays": {"value": "30"}, "enableTokensConfig": {"problem": "denied"}}`)},
		"setting unset":          {resource: "workspace", body: `deny contains "x" if input.workspace.max_lifetime_days == 730`, snapshot: partly(`{"maxTokenLifetimeDays": {"value": null}}`)},
		"setting denied":         {body: limit, snapshot: partly(`{"maxTokenLifetimeDays": {"problem": "denied", "detail": "no right"}}`), want: "not judged: setting maxTokenLifetimeDays is denied: no right"},
		"setting unsupported":    {body: limit, snapshot: partly(`{"maxTokenLifetimeDays": {"problem": "unsupported"}}`), want: "not judged: setting maxTokenLifetimeDays is unsupported: this workspace does not know it"},
		"setting not asked for":  {body: limit, snapshot: partly(`{}`), want: "not judged: setting maxTokenLifetimeDays was not collected"},
		"setting no number":      {body: limit, snapshot: partly(`{"maxTokenLifetimeDays": {"value": "many"}}`), want: `not judged: setting maxTokenLifetimeDays is "many", which is not a number of days`},
		"setting no switch":      {resource: "workspace", body: `deny contains "x" if input.workspace.pats_enabled`, snapshot: partly(`{"enableTokensConfig": {"value": "perhaps"}}`), want: `not judged: setting enableTokensConfig is "perhaps", which is not true or false`},
		"setting by its text":    {resource: "workspace", body: `deny contains "x" if input.workspace.settings.enableTokensConfig == "perhaps"`, snapshot: partly(`{"enableTokensConfig": {"value": "perhaps"}}`)},
		"all settings, partial":  {resource: "workspace", body: "deny contains \"x\" if {\n\tsome k\n\tinput.workspace.settings[k] == \"true\"\n}", snapshot: partly(`{}`), want: "not judged: settings is partial"},
		"cloud not known":        {resource: "workspace", body: `deny contains "x" if input.workspace.cloud != "gcp"`, snapshot: func(s *engine.Snapshot) { s.Workspace.Cloud = "" }, want: "not judged: the workspace's cloud is not known"},
		"another section":        {resource: "workspace", body: `deny contains "x" if count(input.workspace.ip_access_lists) == 0`, want: "not judged: ip_access_lists is not_collected"},
		"another section, read": {resource: "workspace", body: `deny contains "x" if count(input.workspace.ip_access_lists) == 0`, snapshot: func(s *engine.Snapshot) {
			s.Coverage["ip_access_lists"] = engine.Coverage{Status: engine.Complete}
			s.Documents["ip_access_lists"] = json.RawMessage(`[]`)
		}},
		"coverage itself": {resource: "workspace", body: `deny contains "x" if input.workspace.coverage.grants == "denied"`, snapshot: cover("grants", engine.Coverage{Status: engine.Denied})},
	} {
		t.Run(name, func(t *testing.T) {
			resource := "token"
			if c.resource != "" {
				resource = c.resource
			}
			set := load(t, map[string]string{resource + "/rule.rego": enginetest.PolicyText(resource, "rule", "X-1", c.custom, c.body)})
			findings, tallies := evaluate(t, set, Job{Snapshot: covered(c.snapshot), Tokens: rows(healthy(nil), healthy(func(t *engine.Token) { t.ID = "b" }))})
			if c.want == "" {
				for _, f := range findings {
					if f.Status != engine.Fail {
						t.Errorf("got %+v, want a verdict", f)
					}
				}
				return
			}
			if len(findings) != 1 || findings[0].Status != engine.Unknown || findings[0].Message != c.want {
				t.Fatalf("got %+v, want one finding %q", findings, c.want)
			}
			if f := findings[0]; f.Resource != engine.ResourceWorkspace || f.ResourceID != "1000" || f.Policy != "X-1" {
				t.Errorf("finding on %s %s", f.Resource, f.ResourceID)
			}
			enginetest.Equal(t, tallies, map[string]engine.Tally{"X-1": {engine.Unknown: 1}})
		})
	}
}

func TestFinding(t *testing.T) {
	t.Parallel()
	set := load(t, enginetest.TokenPolicy("params: {limit: {default: 9, description: days}, seen: {default: 1.5, description: share}}", `deny contains {"msg": "old", "limit": input.params.limit, "who": {input.owner.name, input.token.owner_id}} if {
	input.token.age_days > input.params.limit
	input.token.comment != ""
	input.owner.active
	count(input.token.scopes) < input.workspace.max_lifetime_days
	some grant in input.workspace.grants
	grant.level == "CAN_USE"
}

deny contains {"msg": "new", "who": "nobody"} if input.params.seen > 1`))
	findings, tallies := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: rows(healthy(nil))})
	enginetest.Equal(t, tallies, map[string]engine.Tally{"T-1": {engine.Fail: 1}})
	enginetest.Equal(t, findings, []engine.Finding{{
		Policy: "T-1", Title: "Title of T-1", Severity: engine.High, Status: engine.Fail,
		Workspace: "prod", WorkspaceID: "1000", Resource: engine.ResourceToken, ResourceID: strings.Repeat("a", 64),
		Owner: "ann@example.com", OwnerID: "7000000000000000001", Message: "new; old", Remedy: "revoke",
		Evidence: map[string]any{
			"age_days": int64(30), "owner.active": true, "owner.name": "ann@example.com", "owner_id": "7000000000000000001",
			"scopes": []any{"sql"}, "workspace.max_lifetime_days": int64(30), "limit": int64(9), "params.seen": 1.5,
			"who": []any{[]any{"7000000000000000001", "ann@example.com"}, "nobody"},
		},
		Fingerprint: "d398c17000f031cdaa21eb55403a05b1",
	}})
}

func TestWorkspaceFinding(t *testing.T) {
	t.Parallel()
	set := load(t, enginetest.WorkspacePolicy("", `deny contains "x" if {
	input.workspace.max_lifetime_days < 90
	input.workspace.settings.enableTokensConfig == "true"
	input.workspace.labels.env == "prod"
	input.as_of == "2026-11-01T00:00:00Z"
}`))
	findings, _ := evaluate(t, set, Job{Snapshot: covered(nil)})
	if len(findings) != 1 {
		t.Fatalf("got %+v", findings)
	}
	f := findings[0]
	if f.Resource != engine.ResourceWorkspace || f.ResourceID != "1000" || f.Owner != "" {
		t.Errorf("finding %+v", f)
	}
	enginetest.Equal(t, f.Evidence, map[string]any{"as_of": "2026-11-01T00:00:00Z", "max_lifetime_days": int64(30), "settings.enableTokensConfig": "true", "labels.env": "prod"})
}

// A comment may hold a secret: it is no evidence, however it is read.
func TestCommentsAreNoEvidence(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`deny contains "x" if input.token.comment != ""`,
		"deny contains \"x\" if {\n\tsome k\n\tinput.token[k] == true\n}",
		`deny contains "x" if object.get(input, "token", 1) != 1`,
	} {
		_, f := judged(t, load(t, enginetest.TokenPolicy("needs: []", body)), healthy(func(t *engine.Token) { t.Comment = "canary" }))
		if text := fmt.Sprint(f); f.Status == engine.Fail && strings.Contains(text, "canary") {
			t.Errorf("%s: %s", body, text)
		}
	}
}

func TestTuning(t *testing.T) {
	t.Parallel()
	set := load(t, map[string]string{
		"token/a.rego": enginetest.PolicyText("token", "a", "A-1", `params: {limit: {default: 90, description: D}, names: {default: [a], description: D}, any: {default: [], description: D}, on: {default: true, description: D}}`,
			`deny contains sprintf("over %v", [input.params.limit]) if input.token.age_days > input.params.limit`),
		"token/b.rego": enginetest.PolicyText("token", "b", "B-1", "", `deny contains "x" if input.token.used`),
	})
	for name, c := range map[string]struct {
		tuning map[string]policy.Tuning
		want   string
	}{
		"none":               {nil, ""},
		"a number":           {map[string]policy.Tuning{"A-1": {Params: map[string]any{"limit": 10}}}, ""},
		"a json number":      {map[string]policy.Tuning{"A-1": {Params: map[string]any{"limit": json.Number("10")}}}, ""},
		"a fraction":         {map[string]policy.Tuning{"A-1": {Params: map[string]any{"limit": 1.5}}}, ""},
		"a list":             {map[string]policy.Tuning{"A-1": {Params: map[string]any{"names": []string{"b", "c"}}}}, ""},
		"a list of anything": {map[string]policy.Tuning{"A-1": {Params: map[string]any{"any": []any{1, "c"}}}}, ""},
		"unknown policy":     {map[string]policy.Tuning{"C-1": {}}, "policy C-1: no such policy"},
		"unknown parameter":  {map[string]policy.Tuning{"A-1": {Params: map[string]any{"limits": 10}}}, "policy A-1: no parameter limits"},
		"text for a number":  {map[string]policy.Tuning{"A-1": {Params: map[string]any{"limit": "10"}}}, "parameter limit: want number, got string"},
		"null":               {map[string]policy.Tuning{"A-1": {Params: map[string]any{"limit": nil}}}, "want number, got null"},
		"text for a switch":  {map[string]policy.Tuning{"A-1": {Params: map[string]any{"on": "true"}}}, "want boolean, got string"},
		"wrong element":      {map[string]policy.Tuning{"A-1": {Params: map[string]any{"names": []any{"a", 1}}}}, "element 2: want string, got number"},
		"a date":             {map[string]policy.Tuning{"A-1": {Params: map[string]any{"limit": time.Time{}}}}, "no JSON value"},
		"unknown severity":   {map[string]policy.Tuning{"A-1": {Severity: "bad"}}, `no such severity "bad"`},
		"disabled and wrong": {map[string]policy.Tuning{"B-1": {Disabled: true, Params: map[string]any{"x": 1}}}, "policy B-1: no parameter x"},
	} {
		t.Run(name, func(t *testing.T) {
			err := set.CheckTuning(c.tuning)
			_, _, again := evaluateIn(t.Context(), set, Job{Snapshot: covered(nil), AsOf: asOf(), Tuning: c.tuning, Tokens: rows()})
			if (err == nil) != (c.want == "") || (again == nil) != (err == nil) {
				t.Fatalf("got %v and %v, want %q", err, again, c.want)
			}
			if e, ok := engine.AsError(err); err != nil && (!ok || e.Class != engine.ClassUsage || e.Reason != "config" || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	findings, tallies := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: rows(healthy(nil)), Tuning: map[string]policy.Tuning{
		"A-1": {Severity: engine.Info, Params: map[string]any{"limit": 10}}, "B-1": {Disabled: true},
	}})
	enginetest.Equal(t, tallies, map[string]engine.Tally{"A-1": {engine.Fail: 1}})
	if len(findings) != 1 || findings[0].Message != "over 10" || findings[0].Severity != engine.Info || findings[0].Evidence["params.limit"] != int64(10) {
		t.Errorf("got %+v", findings)
	}
	// policy.Tuning for a policy that Select left out is no mistake.
	only := set.Select(func(p engine.Policy) bool { return p.ID == "A-1" })
	if err := only.CheckTuning(map[string]policy.Tuning{"B-1": {Disabled: true}}); err != nil {
		t.Error(err)
	}
}

func TestExcept(t *testing.T) {
	t.Parallel()
	set := load(t, enginetest.TokenPolicy("", `deny contains "x" if input.token.used`))
	waiver := &engine.Waiver{ID: "W"}
	var asked []engine.Status
	findings, tallies := evaluate(t, set, Job{
		Snapshot: covered(nil),
		Tokens: rows(healthy(nil), healthy(func(t *engine.Token) { t.ID = "b" }), healthy(func(t *engine.Token) {
			t.ID, t.LastUsed, t.Defects = "c", nil, []engine.Defect{{Field: "last_used_day"}}
		})),
		Except: func(f engine.Finding) engine.Finding {
			asked = append(asked, f.Status)
			if f.ResourceID == "b" {
				f.Status, f.Waiver = engine.Waived, waiver
			}
			return f
		},
	})
	enginetest.Equal(t, asked, []engine.Status{engine.Fail, engine.Fail})
	enginetest.Equal(t, tallies, map[string]engine.Tally{"T-1": {engine.Fail: 1, engine.Waived: 1, engine.Unknown: 1}})
	if len(findings) != 3 || findings[1].Waiver != waiver {
		t.Errorf("got %+v", findings)
	}
}

const endless = `deny contains "x" if {
	input.token.used
	count([1 | some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); i + j < 0]) > 0
}`

// A policy that does not end becomes errors; the others go on.
func TestDeadline(t *testing.T) {
	t.Parallel()
	set := load(t, map[string]string{
		"token/a.rego": enginetest.PolicyText("token", "a", "A-1", "", endless),
		"token/b.rego": enginetest.PolicyText("token", "b", "B-1", "", `deny contains "x" if input.token.used`),
	}).With(Options{Deadline: 300 * time.Millisecond})
	var many []engine.Subject
	for i := range 20 {
		many = append(many, healthy(func(t *engine.Token) { t.ID = fmt.Sprint(i) }))
	}
	findings, tallies := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: rows(many...)})
	enginetest.Equal(t, tallies, map[string]engine.Tally{"A-1": {engine.Errored: 20}, "B-1": {engine.Fail: 20}})
	if findings[0].Message != "evaluation did not end within 300ms" {
		t.Errorf("message %q", findings[0].Message)
	}
}

// TestGivenUpWhenOverdue: a policy that ran out of time on three resources is
// not asked about the others, though it would end on those. Otherwise an audit
// of many tokens would take days.
func TestGivenUpWhenOverdue(t *testing.T) {
	const deadline = 100 * time.Millisecond
	const slow = `deny contains "x" if {
	input.token.id < "3"
	count([1 | some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); i + j < 0]) > 0
}`
	var tokens []engine.Subject
	for i := range 6 {
		tokens = append(tokens, healthy(func(t *engine.Token) { t.ID = fmt.Sprint(i) }))
	}
	for place, where := range map[string]sandbox.Command{"here": nil, "sandbox": ownSandbox} {
		set := load(t, enginetest.TokenPolicy("", slow)).With(Options{Deadline: deadline, Workers: 1, NoPrefilter: true, Sandbox: where})
		_, tallies := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: rows(tokens...)})
		if want := (engine.Tally{engine.Errored: len(tokens)}); !maps.Equal(tallies["T-1"], want) {
			t.Errorf("%s: %v, want %v", place, tallies["T-1"], want)
		}
	}
	set := load(t, waiverPack("", strings.ReplaceAll(slow, "input.token.id", "input.finding.resource_id"))).With(Options{Deadline: deadline})
	j := waiverJudge(t, set, nil)
	for i := range 6 {
		f := waivable()
		f.ResourceID = fmt.Sprint(i)
		if got := j.Judge(t.Context(), caseOf(granted(), f)); len(got) != 1 || !strings.HasPrefix(got[0].Message, "could not be judged: evaluation did not end") {
			t.Errorf("waiver of token %d: %v", i, got)
		}
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	set := load(t, enginetest.TokenPolicy("", endless))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := evaluateIn(ctx, set, Job{Snapshot: covered(nil), AsOf: asOf(), Tokens: either(population(1000))})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	j := &judge{deadline: defaultDeadline}
	set := load(t, enginetest.TokenPolicy("", `deny contains "x" if input.token.used`))
	a, err := newAssignment(set.Resources[0], policy.Tuning{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := j.run(t.Context(), a, nil); err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("got %v", err)
	}
}

// TestAPolicyThatFailsIsAnError: one that is undefined, contradicts itself, gives
// what is no message, or errs in a builtin makes no token pass.
func TestAPolicyThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"an error of a builtin":    `deny contains "x" if regex.match("[", input.token.id)`,
		"a conflict":               "deny contains \"x\" if f(1) == 3\n\nf(x) := 1 if x > 0\n\nf(x) := 2 if x < 2",
		"undefined":                `deny := ["x"] if input.token.age_days < 0`,
		"no set":                   `deny := "x"`,
		"neither text nor message": `deny contains 7`,
	} {
		t.Run(name, func(t *testing.T) {
			findings, tallies := evaluate(t, load(t, enginetest.TokenPolicy("", body)), Job{Snapshot: covered(nil), Tokens: rows(healthy(nil))})
			if len(findings) != 1 || findings[0].Status != engine.Errored || tallies["T-1"][engine.Pass] != 0 {
				t.Errorf("got %v, %v", statusesOf(findings), tallies["T-1"])
			}
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	set := load(t, enginetest.TokenPolicy("", `deny contains "x" if input.token.used`))
	broken := errors.New("broken")
	t.Run("rows", func(t *testing.T) {
		tokens := func(yield func(engine.Subject, error) bool) {
			for s := range population(300) {
				if !yield(s, nil) {
					return
				}
			}
			yield(engine.Subject{}, broken)
		}
		if _, _, err := evaluateIn(t.Context(), set, Job{Snapshot: covered(nil), AsOf: asOf(), Tokens: either(tokens)}); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("emit", func(t *testing.T) {
		_, err := set.Evaluate(t.Context(), Job{Snapshot: covered(nil), AsOf: asOf(), Tokens: either(population(10000))}, func(engine.Finding) error { return broken })
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no rows", func(t *testing.T) {
		if _, _, err := evaluateIn(t.Context(), set, Job{Snapshot: covered(nil), AsOf: asOf()}); !errors.Is(err, errNoRows) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("corrupt document", func(t *testing.T) {
		for _, section := range []engine.SectionName{engine.SectionSettings, engine.SectionGrants} {
			snapshot := covered(func(s *engine.Snapshot) { s.Documents[section] = json.RawMessage(`{`) })
			_, _, err := evaluateIn(t.Context(), set, Job{Snapshot: snapshot, AsOf: asOf()})
			if e, ok := engine.AsError(err); !ok || e.Class != engine.ClassStorage {
				t.Errorf("got %v", err)
			}
		}
	})
}

// anyToken draws tokens, unknown fields and odd parties included.
func anyToken(t *rapid.T, i int) engine.Subject {
	now := asOf().UnixMilli()
	instant := rapid.Ptr(rapid.Int64Range(now-1000*engine.Day, now+1000*engine.Day), true)
	word := rapid.SampledFrom([]string{"", "1", "2", "ann@example.com", "sql", "all-apis", "authentication", "password=hunter22"})
	token := engine.Token{
		ID: fmt.Sprintf("%064x", i), Comment: word.Draw(t, "comment"),
		Created: instant.Draw(t, "created"), Expires: instant.Draw(t, "expires"), LastUsed: instant.Draw(t, "used"),
		OwnerID: word.Draw(t, "owner"), CreatorID: word.Draw(t, "creator"), CreatorName: word.Draw(t, "name"),
		Scopes:         rapid.SliceOfN(word, 0, 3).Draw(t, "scopes"),
		AutoscopeState: rapid.SampledFrom([]string{"", "AUTOSCOPE_STATE_RUNNING", "AUTOSCOPE_STATE_DISABLED", "AUTOSCOPE_STATE_COMPLETED"}).Draw(t, "state"),
		InferredScopes: rapid.SliceOfN(word, 0, 2).Draw(t, "inferred"),
	}
	if rapid.Bool().Draw(t, "endless") {
		token.Expires = ptr(engine.NeverExpires)
	}
	for _, field := range rapid.SliceOfN(rapid.SampledFrom([]string{"last_used_day", "scopes", "comment", "autoscope_state"}), 0, 2).Draw(t, "defects") {
		token.Defects = append(token.Defects, engine.Defect{Field: field, Reason: "bad_type"})
	}
	party := engine.Party{
		ID: token.OwnerID, Name: word.Draw(t, "party"), LiveTokens: rapid.IntRange(0, 9).Draw(t, "live"),
		Kind:   rapid.SampledFrom([]engine.Kind{"", engine.User, engine.ServicePrincipal, engine.Missing}).Draw(t, "kind"),
		Active: rapid.Ptr(rapid.Bool(), true).Draw(t, "active"), Admin: rapid.Ptr(rapid.Bool(), true).Draw(t, "admin"),
	}
	return engine.Subject{Token: token, Facts: engine.Derive(token, now), Owner: party, Creator: party}
}

// Rule indexing, early exit and the number of workers change nothing.
func TestOptimisationsChangeNothing(t *testing.T) {
	set := builtIn(t)
	enginetest.Check(t, func(rt *rapid.T) {
		var tokens []engine.Subject
		for i := range rapid.IntRange(1, 40).Draw(rt, "tokens") {
			tokens = append(tokens, anyToken(rt, i))
		}
		job := Job{Snapshot: covered(nil), AsOf: asOf(), Tokens: rows(tokens...)}
		findings, tallies, err := evaluateIn(context.Background(), set, job)
		plain, plainTallies, plainErr := evaluateIn(context.Background(), set.With(Options{Plain: true, Workers: 1}), job)
		if err != nil || plainErr != nil {
			rt.Fatal(err, plainErr)
		}
		if diff := difference(findings, plain) + difference(tallies, plainTallies); diff != "" {
			rt.Fatal(diff)
		}
		for id, tally := range tallies {
			if n := tally.Evaluated(); n != len(tokens) && n != 1 {
				rt.Fatalf("%s: %d results for %d tokens", id, n, len(tokens))
			}
			if tally[engine.Errored] > 0 {
				rt.Fatalf("%s: %v", id, findings)
			}
		}
	})
}

// Memory does not grow with the number of tokens: rows are read no faster than
// findings are taken.
func TestRowsAreNotHoarded(t *testing.T) {
	t.Parallel()
	const total, workers = 60 * batchSize, 2
	set := load(t, enginetest.TokenPolicy("judges: all", `deny contains "x" if input.token.used`)).With(Options{Workers: workers})
	var read atomic.Int64
	counting := func(yield func(engine.Subject, error) bool) {
		for s, err := range population(total) {
			if read.Add(1); !yield(s, err) {
				return
			}
		}
	}
	emitted := 0
	_, err := set.Evaluate(t.Context(), Job{Snapshot: covered(nil), AsOf: asOf(), Tokens: either(counting)}, func(engine.Finding) error {
		if emitted++; emitted == 1 {
			time.Sleep(300 * time.Millisecond)
			// Batches: read and judged ones queued, one with each worker, one being
			// filled, one being emitted.
			if ahead := read.Load(); ahead > (3*workers+2)*batchSize {
				t.Errorf("%d rows were read before the first finding was taken", ahead)
			}
		}
		return nil
	})
	if err != nil || emitted != total {
		t.Errorf("emitted %d, %v", emitted, err)
	}
}
