package main

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/enginetest"

	"github.com/xuri/excelize/v2"
	"golang.org/x/net/html"
)

// hostility is a simulated account in which every text of the corpus stands in
// every field that a user of a workspace controls, and what patrol made of it.
type hostility struct {
	*testing.T
	texts   []enginetest.HostileText
	account *simulator.Account
	at      time.Time
	dir     string
}

// TestHostileText: whatever users write, it does nothing, nothing of it is lost
// without a word, and no secret in it is shown.
func TestHostileText(t *testing.T) {
	enginetest.NotInRace(t)
	h := newHostility(t)
	h.patrol("audit", "--format", "html", "--output-dir", "before")
	h.spread()
	h.patrol("audit", "-v", "--format", allFormats(), "--create-baseline", "baseline.json")
	h.keep("log.jsonl", h.patrol("audit", "-v", "--log-format", "json", "--format", "json", "--output-dir", "again", "--db", "again.db").stderr)
	for _, format := range []string{"table", "csv", "json"} {
		h.keep("tokens."+format, h.patrol("tokens", "--format", format).stdout)
		h.keep("diff."+format, h.patrol("snapshots", "diff", "--format", format).stdout)
	}
	h.keep("history.table", h.patrol("tokens", "history", "0").stdout)
	h.keep("history.json", h.patrol("tokens", "history", "0", "--format", "json").stdout)
	h.keep("snapshot.table", h.patrol("snapshots", "show", "4").stdout)
	h.patrol("plan", "--config", h.config(), "--format", strings.Join(planFormats(), ","), "--notices", "notices")
	h.keep("plan.table", h.patrol("show", "plan.json").stdout)
	h.errors()
	h.checkFiles()
	h.checkTokensJSON()
	h.checkTokensCSV()
	h.checkChanges()
}

func newHostility(t *testing.T) *hostility {
	t.Helper()
	texts, err := enginetest.HostileTexts("../..")
	if err != nil || len(texts) < 50 {
		t.Fatalf("%d texts: %v", len(texts), err)
	}
	h := &hostility{T: t, texts: texts, at: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), dir: t.TempDir()}
	h.account = simulator.New(simulator.Options{Seed: 3, Workspaces: 3, Tokens: 0, Now: func() time.Time { return h.at }})
	server := httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(server.Close)
	config := filepath.Join(t.TempDir(), "databrickscfg")
	if err := os.WriteFile(config, []byte(h.account.ConfigFile(server.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DATABRICKS_CONFIG_FILE", config)
	t.Chdir(h.dir)
	return h
}

// carried is text as the simulated account can hold it: JSON has no bytes that
// are no UTF-8, so that private characters stand for them until serve.
func carried(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && size == 1 {
			r = 0xE000 + rune(text[0])
		}
		b.WriteRune(r)
		text = text[size:]
	}
	return b.String()
}

// serve answers as the account does, with the bytes that it cannot hold, and
// with a group of every name.
func (h *hostility) serve(w http.ResponseWriter, r *http.Request) {
	recorder := httptest.NewRecorder()
	h.account.ServeHTTP(recorder, r)
	body := bytes.ReplaceAll(recorder.Body.Bytes(), []byte(`"data-engineers"`), h.groupName())
	for b := range 0x80 {
		body = bytes.ReplaceAll(body, []byte(string(rune(0xE080+b))), []byte{byte(0x80 + b)})
	}
	for name, values := range recorder.Header() {
		w.Header()[name] = values
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(recorder.Code)
	_, _ = w.Write(body)
}

func (h *hostility) groupName() []byte {
	name := "group "
	for _, text := range h.texts {
		if text.Secret != "" {
			continue
		}
		name += carried(text.Text[:min(len(text.Text), 200)])
	}
	return engine.CompactJSON(name)
}

// spread puts every text everywhere.
func (h *hostility) spread() {
	h.Helper()
	keys := []string{"maxTokenLifetimeDays", "enableProjectsAllowList", "projectsAllowList", "enableDcs", "enableWebTerminal", "maxUserInactiveDays",
		"enableExportNotebook", "enableResultsDownloading", "enableIpAccessLists", "enableUploadDataUis", "enforceUserIsolation", "rStudioUserDefaultHomeBase",
		"enableFileStoreEndpoint", "enableJobViewAcls", "enableNotebookTableClipboard", "enableProjectTypeInWorkspace", "enableVerboseAuditLogs",
		"enableWorkspaceFilesystem", "enforceClusterViewAcls", "enforceWorkspaceViewAcls", "mlflowRunArtifactDownloadEnabled",
		"reposIpynbResultsExportPermissions", "storeInteractiveNotebookResultsInCustomerAccount", "enable-X-Frame-Options",
		"enable-X-XSS-Protection", "enable-X-Content-Type-Options", "enableDbfsFileBrowser", "customerApprovedWSLoginExpirationTime"}
	spaces := h.account.Workspaces()
	reachable, err := h.account.AddUser(simulator.User{Name: "ana@example.com", DisplayName: "=<b>pwned</b>\x1b[1m", Active: true})
	h.check(err)
	grants := make([][]simulator.Grant, len(spaces))
	for i, text := range h.texts {
		value := carried(text.Text)
		name := value // of users, groups, tokens and scopes: identifiers, which are shown exactly
		if text.Secret != "" {
			name = fmt.Sprintf("name %d", i)
		}
		where := spaces[i/len(keys)].Name
		user, err := h.account.AddUser(simulator.User{Name: name, DisplayName: value, Active: i%2 == 0})
		h.check(err)
		token := simulator.Token{ID: idOf(i), Comment: value, OwnerID: user.ID, CreatedByID: user.ID, CreatedByUsername: name,
			CreationTime: h.at.AddDate(0, 0, -200).UnixMilli(), ExpiryTime: -1, LastUsedDay: h.at.AddDate(0, 0, -120).UnixMilli()}
		_, err = h.account.PutToken(where, token)
		h.check(err)
		token.Raw = engine.CompactJSON(map[string]any{"token_id": name, "comment": value, "owner_id": user.ID, "created_by_id": user.ID,
			"created_by_username": name, "creation_time": token.CreationTime, "expiry_time": -1, "scopes": []string{"sql"}})
		token.ID = ""
		_, err = h.account.PutToken(where, token)
		h.check(err)
		// And of an owner who can be written to, and in rows that are not as they should be.
		token = simulator.Token{Comment: value, OwnerID: reachable.ID, CreatedByID: reachable.ID, CreationTime: token.CreationTime, ExpiryTime: -1}
		_, err = h.account.PutToken(where, token)
		h.check(err)
		token.Raw = engine.CompactJSON(map[string]any{"token_id": idOf(i), "comment": i, "expiry_time": value, "creation_time": value, "owner_id": name, "scopes": []string{name}})
		_, err = h.account.PutToken(spaces[2].Name, token)
		h.check(err)
		_, err = h.account.Change(simulator.Change{Workspace: where, Conf: map[string]*string{keys[i%len(keys)]: &value}})
		h.check(err)
		grants[i/len(keys)] = append(grants[i/len(keys)], simulator.Grant{GroupName: name, Level: "CAN_USE"})
	}
	for i, list := range grants {
		_, err := h.account.Change(simulator.Change{Workspace: spaces[i].Name, ACL: &list})
		h.check(err)
	}
}

func idOf(i int) string { return fmt.Sprintf("%064x", i+1) }

func (h *hostility) check(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// patrol runs a command in this process; whatever it says is harmless.
func (h *hostility) patrol(args ...string) said {
	h.Helper()
	if slices.Contains([]string{"audit", "collect"}, args[0]) {
		for _, w := range h.account.Workspaces() {
			args = append(args, "--profile", w.Profile+"-oauth") // the account begins without tokens
		}
	}
	got := runHere(h.at, args...)
	if got.code > 4 || got.code == 2 || got.code == 3 && !slices.Contains(args, "history") {
		h.Fatalf("%q ends with %d: %.2000s", args, got.code, got.stderr)
	}
	h.onTerminal(args[0]+" stderr", got.stderr)
	h.noSecrets(args[0]+" stderr", got.stderr)
	h.noSecrets(args[0]+" stdout", got.stdout)
	if !slices.Contains(args, "csv") {
		h.onTerminal(args[0]+" stdout", got.stdout)
	}
	return got
}

func (h *hostility) keep(name, text string) {
	h.Helper()
	if len(text) < 100 {
		h.Errorf("%s: only %q", name, text)
	}
	h.check(os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600))
}

func (h *hostility) config() string {
	path := filepath.Join(h.dir, "patrol.yaml")
	h.check(os.WriteFile(path, []byte("remediation: {remedies: {PAT-001: notify, PAT-002: notify, PAT-004: notify, PAT-005: notify, PAT-009: notify, PAT-021: notify}, limits: {max_steps: 1000, max_percent: 100, max_per_owner: 100, max_recently_used: 1000}}\n"), 0o600))
	return path
}

// errors: what the platform says in an error, and what a user typed.
func (h *hostility) errors() {
	formats := []string{"text", "json"}
	var said []enginetest.HostileText // by the platform
	for i, text := range h.texts {
		if i%2 == 0 && text.Secret == "" {
			h.patrol("tokens", "history", "z"+text.Text, "--log-format", formats[i/2%2])
		} else {
			said = append(said, text)
		}
	}
	spaces, n := h.account.Workspaces(), 0
	for texts := range slices.Chunk(said, len(spaces)) {
		h.account.ClearFaults()
		for i, text := range texts { // each by a workspace of its own
			h.account.AddFault(simulator.Fault{Path: "/api/2.0/token-management/tokens$", Status: 400, Workspace: strconv.FormatInt(spaces[i].ID, 10),
				Body: string(engine.CompactJSON(map[string]string{"error_code": carried(text.Text), "message": carried(text.Text)}))})
		}
		format := formats[n%2]
		got := h.patrol("collect", "--log-format", format, "--db", "errors.db")
		if n++; got.code != 4 {
			h.Errorf("%s and more: collect ends with %d", texts[0].Name, got.code)
		}
		if format == "json" {
			h.jsonLines(texts[0].Name, got.stderr)
		}
	}
}

func (h *hostility) jsonLines(name, text string) {
	h.Helper()
	for line := range strings.Lines(text) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			h.Errorf("%s: %q: %v", name, line, err)
		}
	}
}

// onTerminal wants text that does nothing on a terminal or in a log.
func (h *hostility) onTerminal(name, text string) {
	h.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimLeft(strings.TrimSuffix(line, "\n"), "\t")
		line = strings.TrimPrefix(line, "##vso[task.logissue type=") // of our own
		if what := enginetest.Acting(line); what != "" {
			h.Errorf("%s acts on a terminal by %q: %.300q", name, what, line)
			return
		}
		if strings.HasPrefix(line, "2026-11-24T12:00:00Z error: forged") || strings.HasPrefix(line, `{"level":"error","msg":"forged`) {
			h.Errorf("%s has a line that was forged: %q", name, line)
		}
	}
}

func (h *hostility) noSecrets(name, text string) {
	h.Helper()
	for _, t := range h.texts {
		if i := strings.Index(text, t.Secret); t.Secret != "" && i >= 0 {
			h.Errorf("%s shows the %s: %.300q", name, t.Name, text[max(0, i-200):])
		}
	}
}

// checkFiles holds every file against what its medium can do.
func (h *hostility) checkFiles() {
	checks := map[string]func(name string, data []byte){
		".csv": h.checkCSV, ".xlsx": h.checkXLSX, ".html": h.checkHTML, ".json": h.checkJSON, ".sarif": h.checkJSON, ".xml": h.checkXML,
		".eml": h.checkMail, ".md": h.checkText, ".txt": h.checkText, ".table": h.checkText, ".jsonl": h.checkLog, ".sh": h.checkText, ".tf": h.checkText,
	}
	seen := map[string]int{}
	h.check(filepath.WalkDir(h.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, ".db") || filepath.Base(path) == "patrol.yaml" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, ending := strings.TrimPrefix(path, h.dir+"/"), filepath.Ext(path)
		check, known := checks[ending]
		if !known {
			h.Errorf("no check for %s", name)
			return nil
		}
		seen[ending]++
		check(name, data)
		if ending != ".xlsx" {
			h.noSecrets(name, string(data))
		}
		return nil
	}))
	for _, ending := range []string{".csv", ".xlsx", ".html", ".json", ".sarif", ".xml", ".md", ".eml", ".txt", ".table", ".jsonl"} {
		if seen[ending] == 0 {
			h.Errorf("no file %s was written: %v", ending, seen)
		}
	}
	h.Logf("files: %v", seen)
}

func (h *hostility) checkText(name string, data []byte) { h.onTerminal(name, string(data)) }

func (h *hostility) checkLog(name string, data []byte) {
	h.onTerminal(name, string(data))
	h.jsonLines(name, string(data))
}

func (h *hostility) checkJSON(name string, data []byte) {
	if !json.Valid(data) || !utf8.Valid(data) {
		h.Errorf("%s is no JSON", name)
	}
	h.onTerminal(name, string(data))
}

func (h *hostility) checkXML(name string, data []byte) {
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			h.Errorf("%s: %v", name, err)
			return
		}
		if text, ok := token.(xml.CharData); ok {
			h.onTerminal(name, string(text))
		}
	}
}

func (h *hostility) checkMail(name string, data []byte) {
	if _, err := mail.ReadMessage(bytes.NewReader(data)); err != nil {
		h.Errorf("%s: %v", name, err)
	}
	h.onTerminal(name, strings.ReplaceAll(string(data), "\r\n", "\n"))
}

// trigger reports whether a spreadsheet could take a cell for a formula. A
// number that patrol computed is none.
func trigger(cell string) bool {
	if _, err := strconv.ParseInt(cell, 10, 64); err == nil {
		return false
	}
	seen := strings.TrimLeftFunc(cell, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) })
	return strings.HasPrefix(cell, "\t") || strings.HasPrefix(cell, "\r") || strings.HasPrefix(cell, "\n") ||
		seen != "" && strings.ContainsRune("=+-@＝＋－＠", []rune(seen)[0])
}

// checkCSV reads it as programs with each separator do.
func (h *hostility) checkCSV(name string, data []byte) {
	for _, comma := range []rune{',', ';', '\t', '|'} {
		r := csv.NewReader(bytes.NewReader(data))
		r.Comma, r.FieldsPerRecord, r.LazyQuotes = comma, -1, comma != ','
		rows, err := r.ReadAll()
		if err != nil {
			h.Errorf("%s by %q: %v", name, comma, err)
			continue
		}
		for _, row := range rows {
			for _, cell := range row {
				if trigger(cell) {
					h.Errorf("%s by %q: a cell begins as a formula: %.100q", name, comma, cell)
				}
				if comma == ',' && enginetest.Acting(cell) != "" {
					h.Errorf("%s: %.100q acts on a terminal", name, cell)
				}
			}
		}
	}
}

func (h *hostility) checkXLSX(name string, data []byte) {
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	h.check(err)
	formula := regexp.MustCompile(`<f[ >/]`)
	for _, entry := range archive.File {
		r, err := entry.Open()
		h.check(err)
		text, err := io.ReadAll(r)
		h.check(err)
		h.noSecrets(name+" "+entry.Name, string(text))
		if strings.HasPrefix(entry.Name, "xl/worksheets/") && formula.Match(text) {
			h.Errorf("%s has a formula in %s", name, entry.Name)
		}
		if strings.HasSuffix(entry.Name, ".xml") || strings.HasSuffix(entry.Name, ".rels") {
			h.checkXML(name+" "+entry.Name, text)
		}
	}
	file, err := excelize.OpenReader(bytes.NewReader(data))
	h.check(err)
	defer file.Close()
	for _, sheet := range file.GetSheetList() {
		rows, err := file.GetRows(sheet)
		h.check(err)
		for _, row := range rows {
			for _, cell := range row {
				if trigger(cell) {
					h.Errorf("%s %s: a cell begins as a formula: %.100q", name, sheet, cell)
				}
			}
		}
	}
}

// checkHTML wants no element and no attribute that comes from a text: those of
// the corpus are called pwned or load from there.
func (h *hostility) checkHTML(name string, data []byte) {
	root, err := html.Parse(bytes.NewReader(data))
	h.check(err)
	for node := range root.Descendants() {
		if node.Type != html.ElementNode {
			continue
		}
		if node.Data == "script" && node.FirstChild != nil && !strings.Contains(attribute(node, "type"), "json") && strings.Contains(node.FirstChild.Data, "pwned") {
			h.Errorf("%s has a script that holds a text", name)
		}
		if strings.Contains(node.Data, "pwned") {
			h.Errorf("%s has an element %s", name, node.Data)
		}
		for _, a := range node.Attr {
			address := slices.Contains([]string{"href", "src", "action", "srcdoc"}, a.Key)
			if strings.HasPrefix(a.Key, "on") || strings.Contains(a.Key, "pwned") || address && strings.Contains(a.Val, "pwned") {
				h.Errorf("%s: %s has %s=%.100q", name, node.Data, a.Key, a.Val)
			}
		}
	}
	h.onTerminal(name, string(data))
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// shown is a text as a medium for people shows it.
func shown(text string) string { return engine.SafeText(engine.RedactSecrets(text)) }

// bare takes away the apostrophes that keep cells from being formulas.
func bare(text string) string { return strings.ReplaceAll(text, "'", "") }

// exact is a text as JSON carries it: whole, with bytes that are no UTF-8 visible.
func exact(text string) string {
	text = engine.RedactSecrets(text)
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, text[0])
		} else {
			b.WriteString(text[:size])
		}
		text = text[size:]
	}
	return b.String()
}

func (h *hostility) read(name string) []byte {
	h.Helper()
	data, err := os.ReadFile(filepath.Join(h.dir, name))
	h.check(err)
	return data
}

func (h *hostility) checkTokensJSON() {
	var rows []map[string]any
	if err := json.Unmarshal(h.read("tokens.json"), &rows); err != nil {
		h.Fatal(err)
	}
	byID := map[any]map[string]any{}
	for _, row := range rows {
		if row["workspace"] != h.account.Workspaces()[2].Name+"-oauth" {
			byID[row["token_id"]] = row
		}
	}
	for i, text := range h.texts {
		row := byID[idOf(i)]
		if row["comment"] != exact(text.Text) {
			h.Errorf("tokens.json: %s became %.200q", text.Name, row["comment"])
		}
		if text.Secret == "" && row["owner"] != exact(text.Text) {
			h.Errorf("tokens.json: owner %s became %.200q", text.Name, row["owner"])
		}
		if text.Secret == "" && byID[exact(text.Text)] == nil {
			h.Errorf("tokens.json: no token whose id is %s", text.Name)
		}
	}
}

func (h *hostility) checkTokensCSV() {
	rows, err := csv.NewReader(bytes.NewReader(h.read("tokens.csv"))).ReadAll()
	h.check(err)
	column := func(name string) int {
		i := slices.Index(rows[0], name)
		if i < 0 {
			h.Fatalf("no column %s in %q", name, rows[0])
		}
		return i
	}
	id, comment := column("token_id"), column("comment")
	byID := map[string][]string{}
	for _, row := range rows[1:] {
		if row[0] != h.account.Workspaces()[2].Name+"-oauth" {
			byID[bare(row[id])] = row
		}
	}
	for i, text := range h.texts {
		row := byID[idOf(i)]
		if row == nil || bare(row[comment]) != bare(shown(text.Text)) {
			h.Errorf("tokens.csv: %s became %.200q", text.Name, row)
		}
		if text.Secret == "" && byID[bare(shown(text.Text))] == nil {
			h.Errorf("tokens.csv: no token whose id is %s", text.Name)
		}
	}
}

// checkChanges: each text appeared in the second snapshot as a token and a user.
func (h *hostility) checkChanges() {
	text := string(h.read("diff.csv"))
	for i := range h.texts {
		if !strings.Contains(text, idOf(i)) {
			h.Errorf("diff.csv: token %s is missing", idOf(i))
		}
	}
}
