package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"
)

func testPseudonyms(t *testing.T) *Pseudonyms {
	t.Helper()
	p, err := NewPseudonyms(bytes.Repeat([]byte{7}, PseudonymKeyMin))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPseudonymsAreStableAndKeyed(t *testing.T) {
	t.Parallel()
	p := testPseudonyms(t)
	// computed by: printf alice@example.com | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707… | cut -c1-20
	const want = "person-09870f7a555563284d0f"
	for _, name := range []string{"alice@example.com", "Alice@Example.COM"} {
		if got := p.Name(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	other, err := NewPseudonyms(bytes.Repeat([]byte{8}, PseudonymKeyMin))
	if err != nil {
		t.Fatal(err)
	}
	if other.Name("alice@example.com") == want {
		t.Error("the key makes no difference")
	}
	if p.Name("") != "" {
		t.Error("nobody has a pseudonym")
	}
	if _, err := NewPseudonyms(make([]byte, PseudonymKeyMin-1)); err == nil {
		t.Error("a short key is taken")
	}
}

func TestPseudonymsInText(t *testing.T) {
	t.Parallel()
	p := testPseudonyms(t)
	alice := p.Name("alice@example.com")
	for text, want := range map[string]string{
		"owner alice@example.com is outside":      "owner " + alice + " is outside",
		"<Alice@example.com>, ask":                "<" + alice + ">, ask",
		"alice@example.com.":                      alice + ".",
		"no address @ all":                        "no address @ all",
		"9f3c1d5e-0000-4000-8000-000000000001":    "9f3c1d5e-0000-4000-8000-000000000001",
		"":                                        "",
		"zoë.müller@exämple.com":                  p.Name("zoë.müller@exämple.com"),
		"mailto:o'brien+pat@mail.example.co.uk,x": "mailto:" + p.Name("o'brien+pat@mail.example.co.uk") + ",x",
	} {
		if got := p.Text(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func one[T any](row T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) { yield(row, nil) }
}

// TestPseudonymisedReportNamesNobody puts a name into every text of a report, by
// reflection, so that a new field is either covered or named here.
func TestPseudonymisedReportNamesNobody(t *testing.T) {
	t.Parallel()
	const address, full = "alice@example.com", "Alice Liddell"
	said := address + " aka " + full + ", zoe@example.org" // of whom the database knows nothing
	alice := Party{ID: "1", Kind: User, Name: address, DisplayName: full}
	value := said
	finding := Finding{Owner: address, OwnerID: "1", Message: said, Evidence: map[string]any{"approved": []any{said, map[string]any{"who": said}}},
		Waiver: &Waiver{Approver: address, Reason: said}}
	r := Report{
		Workspaces: []WorkspaceReport{{
			Snapshot: Snapshot{Workspace: Workspace{Labels: map[string]string{"contact": said}}, Documents: map[SectionName]json.RawMessage{SectionSettings: []byte(said)},
				Coverage: map[SectionName]Coverage{SectionTokens: {Detail: said}}},
			Settings: Settings{"k": {Value: &value, Detail: said}},
			Grants:   Grants{{Principal: address, Kind: "user"}, {Principal: "admins", Kind: "group"}},
		}},
		Policies: []PolicyReport{{Policy: Policy{Params: []Param{{Default: []any{said}, Value: said}}}}},
		Exceptions: Exceptions{Waivers: []WaiverUse{{WaiverRule: WaiverRule{Owner: address, Approver: full, Reason: said},
			Refusals: []WaiverRefusal{{Message: said}}}}},
		WhatIf:   full + " left",
		Trend:    &Trend{New: []Finding{finding}},
		Findings: one(finding),
		Tokens: one(TokenRow{Workspace: Workspace{Labels: map[string]string{"contact": said}}, Subject: Subject{
			Token: Token{Comment: said, CreatorName: address, Raw: []byte(`"` + said + `"`)}, Owner: alice, Creator: alice,
		}}),
	}
	p := testPseudonyms(t)
	p.Learn(address, full)
	got := r.Pseudonymised(p)
	parts := []any{got.Workspaces, got.Policies, got.Exceptions, *got.Trend, got.WhatIf}
	for f := range got.Findings {
		parts = append(parts, f)
	}
	for row := range got.Tokens {
		parts = append(parts, row)
	}
	texts := 0
	for _, part := range parts {
		eachText(reflect.ValueOf(part), func(text string) {
			texts++
			if strings.Contains(text, "alice@") || strings.Contains(text, "Alice") || strings.Contains(text, "Liddell") || strings.Contains(text, "zoe@") {
				t.Errorf("%T still says %q", part, text)
			}
		})
	}
	if texts < 20 {
		t.Errorf("looked at %d texts only", texts)
	}
	if *r.Workspaces[0].Settings["k"].Value != said || r.Trend.New[0].Owner != address {
		t.Error("the report itself was changed")
	}
	if got.Workspaces[0].Grants[1].Principal != "admins" {
		t.Error("a group lost its name")
	}
}

func TestPseudonymsSpareServicePrincipals(t *testing.T) {
	t.Parallel()
	job := Party{ID: "2", Kind: ServicePrincipal, Name: "9f3c1d5e-0000-4000-8000-000000000001", DisplayName: "etl job"}
	row := TokenRow{Subject: Subject{Owner: job, Creator: job}}
	if got := Pseudonymised(testPseudonyms(t), row); !reflect.DeepEqual(got.Owner, job) {
		t.Errorf("got %+v", got.Owner)
	}
}

// TestNamesInPlaceOfIDs: an imported list has a name where others have an id,
// which is replaced although nobody has told that it is one.
func TestNamesInPlaceOfIDs(t *testing.T) {
	t.Parallel()
	p := testPseudonyms(t)
	got := Pseudonymised(p, Token{OwnerID: "annsmith", CreatorID: "4711"})
	if got.OwnerID != p.Name("annsmith") || got.CreatorID != "4711" {
		t.Errorf("owner %q, creator %q", got.OwnerID, got.CreatorID)
	}
}

// eachText visits every text in a value.
func eachText(v reflect.Value, visit func(string)) {
	switch v.Kind() {
	case reflect.String:
		visit(v.String())
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			eachText(v.Elem(), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			eachText(v.Field(i), visit)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			visit(string(v.Bytes()))
			return
		}
		for i := range v.Len() {
			eachText(v.Index(i), visit)
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			eachText(entries.Key(), visit)
			eachText(entries.Value(), visit)
		}
	}
}

// TestPseudonymsOfKnownNames: names of the snapshot are found as whole words in
// any text; in what people write, first names and beginnings of addresses are
// found as well.
func TestPseudonymsOfKnownNames(t *testing.T) {
	t.Parallel()
	p := testPseudonyms(t)
	p.Learn("O'Brien+dev@Example.com", "annsmith", "Ann Smith <ann.smith@example.com>", "Zoë Müller", "李明", "DOMAIN\\will", "4711", "9f3c1d5e-0000-4000-8000-000000000001", "Al")
	plain, written := p.Text, p.Written
	for _, test := range []struct {
		show       func(string) string
		text, want string
	}{
		{plain, "token of ANNSMITH, made by o'brien+DEV@example.com", "token of " + p.Name("annsmith") + ", made by " + p.Name("o'brien+dev@example.com")},
		{plain, "annsmithson and xannsmith", "annsmithson and xannsmith"},
		{plain, "zoë müller's", p.Name("zoë müller") + "'s"},
		{plain, "请问李明的令牌", "请问" + p.Name("李明") + "的令牌"},
		{plain, "principal 4711, application 9f3c1d5e-0000-4000-8000-000000000001", "principal 4711, application 9f3c1d5e-0000-4000-8000-000000000001"},
		{plain, "al", p.Name("al")},
		{plain, "also al fresco", "also al fresco"},
		{plain, "it will do", "it will do"},
		{written, "ask Ann or O'Brien", "ask " + p.Name("ann") + " or " + p.Name("o'brien")},
		{written, "load for will", "load for " + p.Name("will")},
	} {
		if got := test.show(test.text); got != test.want {
			t.Errorf("%q: got %q, want %q", test.text, got, test.want)
		}
	}
}

// TestPseudonymsOfPeopleNamedLikeOurWords: who is called critical, or PAT-001,
// changes no severity and no id of a policy.
func TestPseudonymsOfPeopleNamedLikeOurWords(t *testing.T) {
	t.Parallel()
	p := testPseudonyms(t)
	p.Learn("critical", "fail", "owner")
	got := Pseudonymised(p, Finding{Policy: "PAT-001", Severity: Critical, Status: Fail, Owner: "owner"})
	if want := (Finding{Policy: "PAT-001", Severity: Critical, Status: Fail, Owner: p.Name("owner")}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// TestPerson: an address is read however a person wrote it. What only looks like
// one is refused: it would be somebody else.
func TestPerson(t *testing.T) {
	for _, text := range []string{
		"ann@example.com", " Ann@Example.com\u00a0", "Ann Lee <ann@example.com>", "mailto:ann@example.com", "ann@example.com (lead)",
		"mailto:ann@example.com?subject=x", "MAILTO:ann%40example.com?subject=a%20b&cc=ben@example.com", "<mailto:ann@example.com?subject=x>", "Ann <mailto:ann@example.com>",
		"ann\u200b@example.com", "\ufeffann@exam\u00adple.com\u2060", "ａｎｎ@example.com", "ann＠ｅｘａｍｐｌｅ．ｃｏｍ", "Jörg \u202eNNA <ann@example.com>",
	} {
		if address, err := Person(text); err != nil || !strings.EqualFold(address, "ann@example.com") {
			t.Errorf("%q: %q, %v", text, address, err)
		}
	}
	if id, err := Person("0042"); err != nil || id != "42" {
		t.Errorf("%q, %v: zeros make no other principal", id, err)
	}
	for _, text := range []string{"", "ann", "\u0430nn@example.com", "ann@ex\u0430mple.com", "a\u0301nn@example.com", "ann@example.com, ben@example.com", "ann@", "https://example.com/ann", "mailto:", "ann@example.com/approved"} {
		if address, err := Person(text); err == nil {
			t.Errorf("%q is taken for %q", text, address)
		}
	}
}

func TestRedactedReport(t *testing.T) {
	t.Parallel()
	secret := "dapi" + strings.Repeat("0123456789abcdef", 2)
	evidence := map[string]any{"comment": secret, "days": 90, "scopes": []any{"sql", secret}, "more": map[string]any{"note": secret}}
	value := "https://x:" + secret + "@git.example.com"
	settings := Settings{"projectsAllowList": {Value: &value}, "enableDcs": {Detail: "neither text nor null: {" + secret + "}"}, "enableWebTerminal": {}}
	r := Report{
		Findings: func(yield func(Finding, error) bool) {
			yield(Finding{Message: "comment is " + secret, Evidence: evidence}, nil)
		},
		Tokens: func(yield func(TokenRow, error) bool) {
			yield(TokenRow{Subject: Subject{Token: Token{Comment: secret}}}, nil)
		},
		Workspaces: []WorkspaceReport{{Settings: settings}},
		Trend:      &Trend{New: []Finding{{Message: "new: " + secret}}},
	}.Redacted()
	shown := r.Workspaces[0].Settings
	if got := *shown["projectsAllowList"].Value; got != "https://x:[redacted Databricks token]@git.example.com" {
		t.Error(got)
	}
	if got := shown["enableDcs"].Detail; got != "neither text nor null: {[redacted Databricks token]}" {
		t.Error(got)
	}
	if shown["enableWebTerminal"] != (Setting{}) || r.Trend.New[0].Message != "new: [redacted Databricks token]" {
		t.Error(shown, r.Trend.New)
	}
	for f := range r.Findings {
		if text := fmt.Sprint(f); strings.Contains(text, secret) || !strings.Contains(text, "90") {
			t.Error(text)
		}
	}
	for row := range r.Tokens {
		if row.Token.Comment != "[redacted Databricks token]" {
			t.Error(row.Token.Comment)
		}
	}
	if evidence["comment"] != secret || *settings["projectsAllowList"].Value != value {
		t.Error("the original was changed")
	}
}

// TestKeysOfEvidenceAreRedacted: a policy may make keys of what people wrote.
func TestKeysOfEvidenceAreRedacted(t *testing.T) {
	t.Parallel()
	one, two := "dapi"+strings.Repeat("a", 32), "dapi"+strings.Repeat("b", 32)
	f := Finding{Evidence: map[string]any{
		one: 1, two: 2, "plain": map[string]any{"words": []any{map[string]any{"password=hunter22": one}}},
	}}
	text, err := json.Marshal(f.Redacted().Evidence)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"[redacted Databricks token]":1,"[redacted Databricks token] (2)":2,"plain":{"words":[{"password=[redacted password]":"[redacted Databricks token]"}]}}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if _, kept := f.Evidence[one]; !kept {
		t.Error("the original was changed")
	}
}
