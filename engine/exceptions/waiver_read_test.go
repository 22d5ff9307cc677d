package exceptions

import (
	"errors"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/strictyaml"

	"github.com/google/go-cmp/cmp"
)

func known() []engine.Policy {
	return []engine.Policy{
		{ID: "PAT-001", Resource: engine.ResourceToken, Aliases: []string{"sat:IA-4"}},
		{ID: "PAT-002", Resource: engine.ResourceToken, Aliases: []string{"sat:IA-4"}},
		{ID: "PAT-016", Resource: engine.ResourceToken},
		{ID: "SP-001", Resource: engine.ResourceSecret},
		{ID: "WS-001", Resource: engine.ResourceWorkspace, Aliases: []string{"sat:IA-5"}},
	}
}

// entryWith is a valid waiver with lines changed ("key: value"), added, or taken
// away ("-key"). Its keys stand in lines 2 to 10.
func entryWith(changes ...string) string {
	lines := []string{"id: W-1", "policy: PAT-016", "workspace: prod-*", "token: 3922b2f6*", "reason: Partner connector cannot use OAuth before Q2.",
		"ticket: OPS-1234", "approver: security.lead@example.com", "created: 2026-11-01", "expires: 2027-02-01"}
	for _, change := range changes {
		key, _, _ := strings.Cut(strings.TrimPrefix(change, "-"), ":")
		kept, replaced := []string{}, strings.HasPrefix(change, "-")
		for _, line := range lines {
			if !strings.HasPrefix(line, key+":") {
				kept = append(kept, line)
			} else if !replaced {
				kept, replaced = append(kept, change), true
			}
		}
		if !replaced {
			kept = append(kept, change)
		}
		lines = kept
	}
	return "waivers:\n  - " + strings.Join(lines, "\n    ") + "\n"
}

func day(text string) engine.Date {
	d, err := engine.ParseDate(text)
	if err != nil {
		panic(err)
	}
	return d
}

func rules(t *testing.T, text string) []engine.WaiverRule {
	t.Helper()
	file, err := ParseWaivers("waivers.yaml", []byte(text), known())
	if err != nil {
		t.Fatal(err)
	}
	return file.Rules
}

func TestParseWaivers(t *testing.T) {
	t.Parallel()
	got := rules(t, entryWith())
	want := []engine.WaiverRule{{
		ID: "W-1", Policies: []string{"PAT-016"}, Workspace: "prod-*", Token: "3922b2f6*", Reason: "Partner connector cannot use OAuth before Q2.",
		Ticket: "OPS-1234", Approver: "security.lead@example.com", Created: day("2026-11-01"), Expires: day("2027-02-01"), Line: 2,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if got[0].TermDays() != 92 {
		t.Fatal(got[0].TermDays())
	}
}

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing": "", "a comment": "# later\n", "no waivers": "waivers:\n", "an empty list": "waivers: []\n",
	} {
		if got := rules(t, text); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	for name, c := range map[string]struct {
		text  string
		holds func(engine.WaiverRule) bool
	}{
		"a display name":    {entryWith(`approver: "Lead <lead@example.com>"`), func(r engine.WaiverRule) bool { return r.Approver == "lead@example.com" }},
		"a remark":          {entryWith(`approver: lead@example.com (on duty)`), func(r engine.WaiverRule) bool { return r.Approver == "lead@example.com" }},
		"a link":            {entryWith(`approver: MAILTO:lead@example.com`), func(r engine.WaiverRule) bool { return r.Approver == "lead@example.com" }},
		"an application":    {entryWith(`approver: 00000000-0000-4000-8000-000000000001`), func(r engine.WaiverRule) bool { return r.Approver == "00000000-0000-4000-8000-000000000001" }},
		"an owner's name":   {entryWith("-token", `owner: "Ann <ann@example.com>"`), func(r engine.WaiverRule) bool { return r.Owner == "ann@example.com" }},
		"a byte order mark": {"\ufeff" + entryWith(), func(r engine.WaiverRule) bool { return r.ID == "W-1" }},
		"a list":            {entryWith("policy: [pat-002, PAT-001]"), func(r engine.WaiverRule) bool { return cmp.Equal(r.Policies, []string{"PAT-001", "PAT-002"}) }},
		"an alias of two":   {entryWith("policy: sat:ia-4"), func(r engine.WaiverRule) bool { return len(r.Policies) == 2 }},
		"digits only":       {entryWith("token: 0012345678901234567890"), func(r engine.WaiverRule) bool { return r.Token == "0012345678901234567890" }},
		"a token like 1e5":  {entryWith("token: 12e500"), func(r engine.WaiverRule) bool { return r.Token == "12e500" }},
		"an owner id":       {entryWith("-token", "owner: 9007199254740993"), func(r engine.WaiverRule) bool { return r.Owner == "9007199254740993" }},
		"no id":             {entryWith("-id"), func(r engine.WaiverRule) bool { return r.ID == "line-2" }},
		"a folded reason":   {entryWith("reason: >\n      two\n      lines"), func(r engine.WaiverRule) bool { return r.Reason == "two lines" }},
		"a quoted day":      {entryWith(`expires: "2027-02-02"`), func(r engine.WaiverRule) bool { return r.Expires == day("2027-02-02") }},
		"one day":           {entryWith("expires: 2026-11-01"), func(r engine.WaiverRule) bool { return r.TermDays() == 0 }},
		"a secret":          {entryWith("policy: SP-001", "-token", "secret: 1f*"), func(r engine.WaiverRule) bool { return r.Secret == "1f*" }},
		"a workspace":       {entryWith("policy: sat:IA-5", "-token", "-workspace"), func(r engine.WaiverRule) bool { return r.Token+r.Owner+r.Workspace == "" }},
	} {
		if got := rules(t, c.text); len(got) != 1 || !c.holds(got[0]) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestParseWaiversRefuses(t *testing.T) {
	t.Parallel()
	second := strings.TrimPrefix(entryWith("id: w-1"), "waivers:\n")
	for name, c := range map[string]struct{ text, want string }{
		"malformed day":      {entryWith("expires: 01.02.2027"), `waivers.yaml:10: expires: "01.02.2027" is no day: want one such as 2027-02-01`},
		"no such day":        {entryWith("created: 2026-02-30"), `waivers.yaml:9: created: "2026-02-30" is no day: want one such as 2027-02-01`},
		"an instant":         {entryWith("expires: 2027-02-01T00:00:00Z"), `waivers.yaml:10: expires: "2027-02-01T00:00:00Z" is no day: want one such as 2027-02-01`},
		"a number for a day": {entryWith("expires: 20270201"), `waivers.yaml:10: expires: "20270201" is no day: want one such as 2027-02-01`},
		"ends before":        {entryWith("expires: 2026-10-31"), "waivers.yaml:10: expires: 2026-10-31 is before created, 2026-11-01"},
		"unknown key":        {entryWith("comment: nightly"), `waivers.yaml:11: unknown key "comment": want one of id, policy, workspace, token, secret, owner, objects, reason, ticket, approver, created, expires`},
		"unknown policy":     {entryWith("policy: PAT-999"), `waivers.yaml:3: policy: unknown policy "PAT-999"; 'patrol policies list' has the ids`},
		"one of two unknown": {entryWith("policy: [PAT-001, PAT-99]"), `waivers.yaml:3: policy: unknown policy "PAT-99"; 'patrol policies list' has the ids`},
		"in a list below":    {entryWith("policy:\n      - PAT-001\n      - PAT-99"), `waivers.yaml:5: policy: unknown policy "PAT-99"; 'patrol policies list' has the ids`},
		"any policy":         {entryWith(`policy: "*"`), `waivers.yaml:3: policy: "*" is a pattern: name each policy by its id`},
		"a policy pattern":   {entryWith("policy: PAT-0?1"), `waivers.yaml:3: policy: "PAT-0?1" is a pattern: name each policy by its id`},
		"no policy in list":  {entryWith("policy: []"), "waivers.yaml:3: policy: is empty"},
		"no policy":          {entryWith("-policy"), "waivers.yaml:2: policy: is missing"},
		"no reason":          {entryWith("-reason"), "waivers.yaml:2: reason: is missing"},
		"no approver":        {entryWith("-approver"), "waivers.yaml:2: approver: is missing"},
		"no created":         {entryWith("-created"), "waivers.yaml:2: created: is missing"},
		"no expires":         {entryWith("-expires"), "waivers.yaml:2: expires: is missing"},
		"empty reason":       {entryWith("reason:"), "waivers.yaml:6: reason: is empty: give a value or leave the key out"},
		"blank approver":     {entryWith(`approver: "  "`), "waivers.yaml:8: approver: is empty: give a value or leave the key out"},
		"a truth value":      {entryWith("reason: true"), "waivers.yaml:6: reason: want text; quote it"},
		"a list for text":    {entryWith("token: [a, b]"), "waivers.yaml:5: token: want one value"},
		"an anchor":          {entryWith("reason: &r because it is so"), "waivers.yaml:6: reason: anchors, aliases, tags and merge keys are not read here; write the value out"},
		"token and owner":    {entryWith("owner: ann@example.com"), "waivers.yaml:11: owner: want token or owner, not both"},
		"neither":            {entryWith("-token"), "waivers.yaml:3: policy: PAT-016 judges tokens: say which by token or owner"},
		"workspace's token":  {entryWith("policy: WS-001"), "waivers.yaml:5: token: WS-001 judges workspaces: leave token out"},
		"workspace's owner":  {entryWith("policy: WS-001", "-token", "owner: a"), "waivers.yaml:10: owner: WS-001 judges workspaces: leave owner out"},
		"secret for a token": {entryWith("-token", "secret: a*"), "waivers.yaml:10: secret: PAT-016 judges tokens: leave secret out"},
		"token for a secret": {entryWith("policy: SP-001"), "waivers.yaml:5: token: SP-001 judges secrets: leave token out"},
		"secret and owner":   {entryWith("policy: SP-001", "-token", "secret: a*", "owner: a"), "waivers.yaml:11: owner: want secret or owner, not both"},
		"neither secret":     {entryWith("policy: SP-001", "-token"), "waivers.yaml:3: policy: SP-001 judges secrets: say which by secret or owner"},
		"both resources":     {entryWith("policy: [PAT-001, WS-001]"), "waivers.yaml:3: policy: policies on different resources need a waiver each"},
		"an id with a blank": {entryWith("id: W 1"), `waivers.yaml:2: id: "W 1": want letters, digits and . _ : / -`},
		"an id twice":        {entryWith() + second, "waivers.yaml:11: id: w-1 is already that of the waiver in line 2"},
		"a key twice":        {entryWith() + "    expires: 2027-03-01\n", `waivers.yaml:11: key "expires" stands in line 10 already`},
		"another top key":    {"waiver:\n  - id: W-1\n", `waivers.yaml:1: unknown key "waiver": did you mean waivers?`},
		"no list":            {"waivers:\n  policy: PAT-001\n", "waivers.yaml:2: waivers: want a list, such as '- policy: PAT-016'"},
		"no mapping":         {"- a\n", "waivers.yaml:1: want keys and values"},
		"no person":          {entryWith("approver: Security Lead"), `waivers.yaml:8: approver: "Security Lead" is neither an e-mail address nor the id of a principal`},
		"a broken address":   {entryWith("-token", "owner: ann@"), `waivers.yaml:10: owner: "ann@" is neither an e-mail address nor the id of a principal`},
		"a key in two cases": {entryWith("Expires: 2027-03-01"), `waivers.yaml:11: key "Expires" stands in line 10 already`},
		"two documents":      {"waivers: []\n---\nwaivers: []\n", "waivers.yaml:3: a second document: put everything into one, without ---"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseWaivers("waivers.yaml", []byte(c.text), known())
			var problems strictyaml.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("want problems, got %v", err)
			}
			if got := problems.Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestParseTellsAll(t *testing.T) {
	t.Parallel()
	_, err := ParseWaivers("w.yaml", []byte("waivers:\n  - policy: X\n    expires: soon\n  - id: 7\n    owner: a\n"), known())
	e, ok := engine.AsError(err)
	if !ok || e.Class != engine.ClassUsage || e.Reason != "waivers" || e.Hint == "" {
		t.Fatalf("%#v", err)
	}
	for _, want := range []string{`w.yaml:2: policy: unknown policy "X"`, "w.yaml:2: reason: is missing", `w.yaml:3: expires: "soon"`, "w.yaml:4: policy: is missing"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func FuzzParseWaivers(f *testing.F) {
	f.Add(entryWith())
	f.Add(entryWith("-token", "owner: '*@example.com'", "policy: [PAT-001, sat:IA-4]"))
	f.Add("waivers: &a\n  - *a\n")
	f.Add("waivers:\n  - <<: {id: x}\n    ? [a]\n    : !!str b\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := ParseWaivers("w.yaml", []byte(text), known())
		if err != nil {
			if e, ok := engine.AsError(err); !ok || e.Reason != "waivers" {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, r := range file.Rules {
			if r.ID == "" || len(r.Policies) == 0 || r.Reason == "" || r.Approver == "" || r.Created > r.Expires || r.TermDays() < 0 {
				t.Fatalf("accepted %+v", r)
			}
		}
	})
}
