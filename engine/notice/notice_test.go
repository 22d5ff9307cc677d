package notice_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/notice"
)

var asOf = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func step(action engine.Action, owner, target, notBefore string) engine.Step {
	return engine.Step{
		ID: "s" + target, Action: action, Workspace: "prod", WorkspaceID: "1", Target: target, Owner: owner, OwnerID: "11", NotBefore: notBefore,
		Policies: []string{"PAT-004"}, Reasons: []string{"unused for 120 days"},
		Precondition: engine.Precondition{
			Identity: map[string]any{"token_id": target, "creation_time": "1750000000000", "expiry_time": "-1"}, Volatile: map[string]any{"last_used_day": nil},
		},
	}
}

func planOf(steps ...engine.Step) engine.Plan {
	return engine.Plan{ID: "p1", AsOf: "2026-11-24T12:00:00Z", Steps: steps, Workspaces: []engine.PlanWorkspace{{ID: "1", Name: "prod", Host: "https://prod.example.com"}}}
}

const (
	today = "2026-11-24T12:00:00Z"
	later = "2026-12-01T12:00:00Z"
)

func messages(t *testing.T, p engine.Plan) []notice.Message {
	t.Helper()
	list, err := notice.Messages(p, "")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestOneMessagePerOwner(t *testing.T) {
	t.Parallel()
	setting := step(engine.SetSetting, "", "maxTokenLifetimeDays", later)
	setting.OwnerID = ""
	list := messages(t, planOf(
		step(engine.Notify, "bob@example.com", "t1", today), step(engine.Revoke, "ana@example.com", "t2", later),
		step(engine.Notify, "ana@example.com", "t3", today), step(engine.Revoke, "cyd@example.com", "t4", today),
		step(engine.Manual, "dan@example.com", "t5", today), setting,
	))
	if len(list) != 2 || list[0].Owner != "ana@example.com" || list[1].Owner != "bob@example.com" {
		t.Fatalf("messages for %+v: want ana (change later, notice) and bob (notice)", list)
	}
	for _, want := range []string{"from **2026-12-01** on", "t2", "t3", "It will be revoked", "unused for 120 days", "| 2025-06-15 | never | never | all |", "OAuth"} {
		if !strings.Contains(list[0].Body, want) {
			t.Errorf("no %q in\n%s", want, list[0].Body)
		}
	}
	if strings.Contains(list[1].Body, "Unless you act") {
		t.Errorf("bob is threatened with nothing:\n%s", list[1].Body)
	}
	if list[0].Subject != "Your Databricks tokens: 1 token will change from 2026-12-01" || list[1].Subject != "Your Databricks tokens: 1 token to look at" {
		t.Errorf("subjects %q, %q", list[0].Subject, list[1].Subject)
	}
}

func TestMailIsReadByOthers(t *testing.T) {
	t.Parallel()
	m := messages(t, planOf(step(engine.Notify, "ana@example.com", "t1", today)))[0]
	read, err := mail.ReadMessage(bytes.NewReader(m.Mail(asOf, book)))
	if err != nil {
		t.Fatal(err)
	}
	to, err := read.Header.AddressList("To")
	if err != nil || len(to) != 1 || to[0].Address != "ana@example.com" {
		t.Errorf("to %v, %v", to, err)
	}
	_, params, err := mime.ParseMediaType(read.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(read.Body, params["boundary"])
	text := nextPart(t, parts, func(r io.Reader) io.Reader { return r }) // the reader undoes quoted-printable
	if strings.ReplaceAll(string(text), "\r\n", "\n") != m.Body {
		t.Errorf("body %q", text)
	}
	attached := nextPart(t, parts, func(r io.Reader) io.Reader { return base64.NewDecoder(base64.StdEncoding, r) })
	if !bytes.Equal(attached, book) {
		t.Errorf("attached %q", attached)
	}
}

// book stands for a workbook of more than one line.
var book = bytes.Repeat([]byte("PK\x03\x04"), 100)

func nextPart(t *testing.T, parts *multipart.Reader, decode func(io.Reader) io.Reader) []byte {
	t.Helper()
	part, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(decode(part))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestForeignTextStaysText(t *testing.T) {
	t.Parallel()
	const evil = "[x](https://evil.example.com)\r\nBcc: all@example.com\u202e<script>"
	s := step(engine.Notify, evil, evil, today)
	s.Workspace, s.Reasons = evil, []string{evil}
	m := messages(t, planOf(s))[0]
	if m.Address != "" || m.Mail(asOf, book) != nil {
		t.Errorf("the name became the address %q", m.Address)
	}
	for _, bad := range []string{"\u202e", "\r", "[x](", "<script>", "\nBcc"} {
		if strings.Contains(m.Body, bad) {
			t.Errorf("%q stands in\n%s", bad, m.Body)
		}
	}
	if strings.ContainsAny(m.Name, "/\\: \r\n") {
		t.Errorf("file name %q", m.Name)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	gone := step(engine.Revoke, "ana@example.com", "t", today)
	gone.OwnerKind, gone.NotBefore = engine.Missing, later
	if m := messages(t, planOf(gone))[0]; m.Address != "" || m.Owner != "ana@example.com" {
		t.Errorf("who left is written to: %+v", m)
	}
	for name, want := range map[string]string{
		"ana@example.com": "ana@example.com", "0b9f9a1e-0000-4000-8000-000000000001": "", "4503599627370497": "", "Ana <ana@example.com>": "",
		"ana@example.com, bob@example.com": "", "ana@example.com\nBcc: x@example.com": "",
	} {
		if got := messages(t, planOf(step(engine.Notify, name, "t", today)))[0].Address; got != want {
			t.Errorf("%q: address %q, want %q", name, got, want)
		}
	}
}

func TestFileNamesDiffer(t *testing.T) {
	t.Parallel()
	list := messages(t, planOf(step(engine.Notify, "a/b", "t1", today), step(engine.Notify, "a:b", "t2", today), step(engine.Notify, "../..", "t3", today)))
	names := map[string]bool{}
	for _, m := range list {
		names[m.Name] = true
		if strings.HasPrefix(m.Name, ".") {
			t.Errorf("file name %q", m.Name)
		}
	}
	if len(names) != 3 {
		t.Errorf("names %v", names)
	}
}

func TestTemplateOfTheUser(t *testing.T) {
	t.Parallel()
	p := planOf(step(engine.Notify, "ana@example.com", "t1", today))
	list, err := notice.Messages(p, "Dear {{.Owner}}: {{range .Tokens}}{{.ID}}{{end}}")
	if err != nil || list[0].Body != "Dear ana@example.com: t1\n" {
		t.Errorf("bodies %+v, %v", list, err)
	}
	for _, bad := range []string{"{{", "{{.Nothing}}", "{{range .Tokens}}{{.Secret}}{{end}}"} {
		_, err := notice.Messages(p, bad)
		if known, ok := engine.AsError(err); !ok || known.Class != engine.ClassUsage || known.Hint == "" {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

func FuzzMessages(f *testing.F) {
	f.Add("ana@example.com", "unused", "t1")
	f.Add("\xff[x](y)\n# z", "*", "`")
	f.Fuzz(func(t *testing.T, owner, reason, target string) {
		s := step(engine.Notify, owner, target, today)
		s.Reasons = []string{reason}
		for _, m := range messages(t, planOf(s)) {
			if enginetest.Acting(strings.ReplaceAll(m.Body, "\n", " ")) != "" {
				t.Fatalf("body acts: %q", m.Body)
			}
			if content := m.Mail(asOf, book); content != nil {
				read, err := mail.ReadMessage(bytes.NewReader(content))
				if err != nil || len(read.Header) != 6 {
					t.Fatalf("headers %v, %v", read, err)
				}
			}
		}
	})
}
