package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"patrol/engine"
)

// ImportOptions tune Import.
type ImportOptions struct {
	Options
	Name  string    // of the workspace; "": the file's name
	Stdin io.Reader // what the path - reads

	AcceptEmpty bool // a file without rows is a workspace without tokens
	Labels      map[string]string
}

// Import reads a token list from a file: what `databricks token-management
// list -o json` writes, the API's own answer, what `patrol tokens` or steampipe
// writes, or a token report as CSV. A
// file holds tokens only: all other sections are not collected. It gives one
// outcome per workspace that the file names, in the order of their ids.
func Import(ctx context.Context, path string, o ImportOptions) ([]Outcome, error) {
	o.Options = o.withDefaults()
	if base := filepath.Base(path); o.Name == "" {
		o.Name = strings.TrimSuffix(base, filepath.Ext(base))
		if path == stdinPath {
			o.Name = "stdin"
		}
	}
	file, err := openTable(ctx, path, o.Stdin)
	if err != nil {
		reason := reasonBadBody
		if errors.Is(err, fs.ErrNotExist) {
			reason = reasonNotFound
		}
		return nil, importError(path, 0, reason, err)
	}
	defer discard(file)
	r := newRowReader(newSpool(o.SpoolDir, tokensLimit), windowAt(o.Now()))
	if err := r.fill(path, file); err != nil {
		discard(r.body)
		return nil, err
	}
	return r.outcomes(o), nil
}

func importError(path string, line int, reason string, err error) error {
	const hint = "Give the output of `databricks token-management list -o json`, or a CSV with columns for token id, owner, created and expires."
	return fileError("import", reason, path, line, hint, err)
}

// rowReader turns rows of files into rows as the API answers them, so that one
// decoder judges both, and lists those of each workspace by themselves.
type rowReader struct {
	body   *spool // of all lists
	window window
	lists  map[string]*tokenList // by the workspace's id; without one, by "name " and its name; "" where rows name none
	names  map[string]string     // of workspaces, by the same
	lost   tally                 // rows that cannot be told from others, of whichever workspace

	line    int             // of CSV that is read; 0 in JSON
	ids     map[string]bool // different ids above 2^53, and whether they end in 0; bounded
	rounded bool            // an id was written as a number with an exponent
}

func newRowReader(body *spool, w window) *rowReader {
	return &rowReader{body: body, window: w, lists: map[string]*tokenList{}, names: map[string]string{}, ids: map[string]bool{}}
}

// fill reads the rows of a file.
func (r *rowReader) fill(path string, file *table) error {
	if file.isCSV {
		if line, err := file.eachRow(importColumns, r.fromCSV); err != nil {
			return importError(path, line, reasonBadBody, err)
		}
	} else if _, problem := readRows("token list", file.from, []string{"token_infos", "rows"}, r.fromJSON); problem != nil {
		return importError(path, 0, problem.Reason, errors.New(problem.Detail))
	}
	// A tool that takes all numbers for floating-point ones rounds ids: most, or a few
	// of them to hundreds, end in zeros then.
	zeros, hundreds := 0, 0
	for id, zero := range r.ids {
		if zero {
			zeros++
		}
		if strings.HasSuffix(id, "00") {
			hundreds++
		}
	}
	if n := len(r.ids); r.rounded || zeros >= 3 && zeros*10 >= n*8 || hundreds >= 2 && hundreds == n {
		return importError(path, 0, "rounded_ids",
			fmt.Errorf("%d different ids end in zeros: whatever wrote the file has rounded them, and they name other people now", max(zeros, 1)))
	}
	for _, list := range r.lists {
		if problem := list.finish("token list"); problem != nil {
			return importError(path, 0, problem.Reason, errors.New(problem.Detail))
		}
	}
	return nil
}

// outcomes makes a capture of each list that holds rows, or one without rows. All
// other sections are not collected, unless they are files too.
func (r *rowReader) outcomes(o ImportOptions) []Outcome {
	maps.DeleteFunc(r.lists, func(_ string, list *tokenList) bool { return len(list.rows) == 0 })
	if len(r.lists) == 0 {
		r.lists[""] = newTokenList(r.body, r.window)
	}
	var users atomic.Int32
	users.Store(int32(len(r.lists)))
	now := o.Now().UTC()
	var outcomes []Outcome
	for _, key := range engine.SortedKeys(r.lists) {
		list := r.lists[key]
		list.tally = list.tally.join(r.lost)
		tokens := list.section()
		if tokens.Coverage.Complete() && len(list.rows) == 0 && !o.AcceptEmpty {
			// A list that lost its rows on the way looks like a workspace without tokens.
			tokens = failed(problemOf(reasonNoRows, "Export the list again; if the workspace has no tokens, say so with --accept-empty.", "the file holds no tokens"))
		}
		id, name := key, cmp.Or(r.names[key], o.Name)
		if !isID(key) {
			id = "import:" + name
		} else if len(r.lists) > 1 && r.names[key] == "" {
			name += "-" + key
		}
		workspace := engine.Workspace{ID: id, Name: name, Labels: o.Labels}
		sections := map[engine.SectionName]engine.Section{}
		for _, collector := range All() {
			coverage, unasked := o.unasked(collector)
			if !unasked {
				coverage = engine.Coverage{Status: engine.NotCollected, Reason: "import", Detail: "an imported file holds tokens only"}
			}
			sections[collector.Section] = engine.Section{Coverage: coverage}
		}
		sections[engine.SectionTokens] = tokens
		for section, export := range o.Exports {
			sections[section] = export.section(workspace, tokens, now)
		}
		outcomes = append(outcomes, Outcome{
			Target:  Target{Name: name, Labels: o.Labels},
			Capture: engine.Capture{Workspace: workspace, CollectedAt: now, Sections: sections},
			close: sync.OnceValue(func() error { // the last outcome frees what all read from
				if users.Add(-1) > 0 {
					return nil
				}
				return r.body.Close()
			}),
		})
	}
	return outcomes
}

// importColumns are the fields of a token and the headings under which files
// have them: as the API spells them (and with it the vendor's query), as
// `patrol tokens` writes them, and the guesses for the token report of the
// account console, whose headings are not documented.
var importColumns = []columnOf{
	{"token_id", []string{"tokenid", "id token"}, "token_id"},
	{"creation_time", []string{"creationtime", "createdat", "created createdon creationdate createdtime createddate"}, "creation_time"},
	{"expiry_time", []string{"expirytime", "expiresat", "expires expireson expiration expirationtime expirationdate expiry expirydate"}, "expiry_time"},
	{"owner_id", []string{"ownerid", "owneruserid"}, "owner"},
	{ownerNameKey, []string{"ownerusername owneremail", "owner", "ownername", "user username useremail"}, "owner"},
	{"last_used_day", []string{"lastusedday", "lastusedat", "lastused lastusedon lastuseddate lastusedtime lastuse"}, ""},
	{"comment", []string{"comment", "tokencomment", "description", "tokenname", "name"}, ""},
	{"created_by_username", []string{"createdbyusername", "createdby creator creatorname creatorusername createdbyemail"}, ""},
	{"created_by_id", []string{"createdbyid", "creatorid createdbyuserid"}, ""},
	{"scopes", []string{"scopes", "tokenscopes scope apiscopes"}, ""},
	{"autoscope_state", []string{"autoscopestate", "autoscope autoscopestatus"}, ""},
	{"inferred_scopes", []string{"inferredscopes"}, ""},
	{"backfill_scopes", []string{"backfillscopes"}, ""},
	{workspaceIDKey, []string{"workspaceid"}, ""},
	{workspaceNameKey, []string{"workspacename", "workspace"}, ""},

	{"never_expires", []string{"neverexpires"}, ""},
	{"used", []string{"used"}, ""},
	{"defects", []string{"defects"}, ""},
	{"unknown_facts", []string{"unknownfacts"}, ""},
}

func (r *rowReader) fromCSV(row record) error {
	r.line = row.line
	original := make([]string, len(row.cells))
	for i, cell := range row.cells {
		original[i] = quote(cell)
	}
	if row.own() {
		for field, text := range row.fields {
			row.fields[field] = engine.RestoreText(engine.RestoreCell(text))
		}
	}
	return r.keep(r.wire(row, "["+strings.Join(original, ",")+"]"))
}

// fromJSON takes a row as it is if it is one of the API's. Otherwise it may be
// one that another tool wrote.
func (r *rowReader) fromJSON(raw json.RawMessage, at int64) error {
	token, o, ok := decodeToken(raw, r.window)
	if _, ours := o.members["unknown_facts"]; ok && len(token.Defects) == 0 && !ours {
		return r.keep(raw)
	}
	texts, err := jsonTexts(raw)
	if err != nil {
		return r.keep(raw) // a defect of this row alone
	}
	maps.DeleteFunc(texts, func(_ string, text *string) bool { return text == nil }) // null tells nothing
	row, err := recordOf(texts, importColumns)
	if err != nil {
		return fmt.Errorf("row at byte %d: %w", at, err)
	}
	converted := r.wire(row, string(raw))
	better, _, also := decodeToken(converted, r.window)
	if !row.own() && ok && (!also || len(better.Defects) >= len(token.Defects)) {
		return r.keep(raw)
	}
	return r.keep(converted)
}

// keep adds a row to the list of its workspace.
func (r *rowReader) keep(row []byte) error {
	o, _ := parseObject(row)
	for _, field := range []string{"owner_id", "created_by_id", workspaceIDKey} {
		id, _ := asID(o.members[field])
		if n, err := strconv.ParseInt(id, 10, 64); err == nil && n > 1<<53 && len(r.ids) < 1000 {
			r.ids[id] = strings.HasSuffix(id, "0")
		}
	}
	key, _ := asID(o.members[workspaceIDKey])
	name, _ := asText(o.members[workspaceNameKey])
	if key == "" && name != "" {
		key = "name " + name
	}
	list := r.lists[key]
	if list == nil {
		list = newTokenList(r.body, r.window)
		r.lists[key], r.names[key] = list, name
	}
	at := r.body.size
	if _, err := r.body.Write(row); err != nil {
		return err
	}
	if !list.add(row, at, r.line) {
		place := fmt.Sprintf("row at byte %d", at)
		if r.line > 0 {
			place = fmt.Sprintf("line %d", r.line)
		}
		r.lost.add(reasonMissingID, "%s has no usable token_id", place)
	}
	return nil
}

// own reports whether `patrol tokens` wrote the row: it tells what is unknown in
// a column of its own, so that what is empty is known to be empty.
func (row record) own() bool {
	_, defects := row.fields["defects"]
	_, facts := row.fields["unknown_facts"]
	return defects && facts
}

// wire is a row as the API answers it, with what it came from.
func (r *rowReader) wire(row record, original string) []byte {
	var members, defects []string
	add := func(field, value string) { members = append(members, quote(field)+":"+value) }
	own := row.own()
	if own {
		for _, found := range ownDefect.FindAllStringSubmatch(row.fields["defects"], -1) {
			defects = append(defects, "["+quote(found[1])+","+quote(found[2])+"]")
		}
		if strings.EqualFold(row.text("used"), "false") { // spreadsheets write FALSE
			row.fields["last_used_day"] = "never"
		}
		if strings.EqualFold(row.text("never_expires"), "true") {
			row.fields["expiry_time"] = "never"
		}
	}
	for _, column := range importColumns {
		field := column.field
		text, known := row.fields[field]
		if !known {
			continue
		}
		trimmed := strings.TrimSpace(text)
		nothing := trimmed == "" || nullWord(trimmed)
		switch field {
		case "comment":
			if own || !nullWord(trimmed) {
				add(field, quote(text))
			}
		case "creation_time", "expiry_time", "last_used_day":
			ms, ok := importTime(trimmed)
			never := ok && (ms == engine.NeverExpires || field == "expiry_time" && -1000 <= ms && ms < 0) // a date of -1 ms, to the second
			switch {
			case nothing:
			case never && field == "last_used_day":
				add(neverUsedKey, "true")
			case never:
				add(field, "-1")
			case ok:
				add(field, strconv.FormatInt(ms, 10))
			default:
				add(field, quote(text))
			}
		case "scopes", "inferred_scopes", "backfill_scopes":
			if own && trimmed == "" { // nothing is left out: it is empty
				add(field, "[]")
			} else if !nothing {
				add(field, scopesJSON(trimmed))
			}
		case "autoscope_state":
			if own && trimmed == "" || !nothing {
				add(field, quote(trimmed))
			}
		case "owner_id", "created_by_id":
			_, named := row.fields[ownerNameKey]
			switch id, numbered := r.importID(trimmed); {
			case nothing:
			case numbered || field == "created_by_id" || named || !signInName(id):
				add(field, quote(id))
			default:
				row.fields[ownerNameKey] = trimmed // the column of ids holds names
			}
		case "token_id", "created_by_username", ownerNameKey:
			if !nothing {
				add(field, quote(trimmed))
			}
		}
	}
	id, name := row.workspace()
	add(workspaceIDKey, quote(id))
	add(workspaceNameKey, quote(name))
	if defects != nil {
		add(ownDefectsKey, "["+strings.Join(defects, ",")+"]")
	}
	add("report", original)
	return []byte("{" + strings.Join(members, ",") + "}")
}

// ownDefect finds the defects in the column of that name.
var ownDefect = regexp.MustCompile(`(?:^|, |"|\[)(token_id|comment|creation_time|expiry_time|last_used_day|owner_id|created_by_id|created_by_username|scopes|autoscope_state|inferred_scopes|backfill_scopes): ([a-z_]+)`)

// workspace is what a record says of its workspace: the id, the name, or both.
// A column may hold the one under the heading of the other.
func (row record) workspace() (id, name string) {
	id, name = row.text(workspaceIDKey), row.text(workspaceNameKey)
	switch {
	case id == "" && isID(name):
		return name, ""
	case !isID(id):
		return "", cmp.Or(name, id)
	}
	return id, name
}

func isID(text string) bool {
	_, err := strconv.ParseInt(text, 10, 64)
	return err == nil
}

// importID reads an id, also one that a tool wrote as a number with a fraction.
// Above 2^53 such a number is not the id any more.
func (r *rowReader) importID(text string) (id string, ok bool) {
	if isID(text) {
		return text, true
	}
	f, err := strconv.ParseFloat(text, 64)
	exact := strconv.FormatFloat(f, 'f', -1, 64)
	switch {
	case err == nil && strings.ContainsAny(text, "eE") && strings.HasSuffix(exact, "000"): // the digits that it shows
		r.rounded = true
		return text, false
	case err != nil || f != math.Trunc(f) || f < 0:
		return text, false
	case f > 1<<53:
		r.rounded = true
		return text, false
	}
	return exact, true
}

// nullWord reports whether a text is how a tool writes that there is nothing.
func nullWord(text string) bool {
	switch text {
	case "null", "NULL", "None", "NaN", "nan", "NaT", "<NA>", "<null>", `\N`:
		return true
	}
	return false
}

// importTime reads what tools write for a moment, in ms; -1 is never. Days without
// an order that is known (3/4/2026) are unknown, and so is a word such as N/A.
func importTime(text string) (ms int64, ok bool) {
	switch letters(text) {
	case "never", "noexpiration", "noexpiry", "doesnotexpire", "neverexpires", "neverused", "notused":
		return engine.NeverExpires, true
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms, true
	}
	// A spreadsheet shows 1.76E+12 of a time in ms: the other digits are gone.
	if f, err := strconv.ParseFloat(text, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 && !strings.Contains(text, "E+") {
		return int64(f), true
	}
	for _, layout := range timeLayouts {
		at, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		// Go takes the name of a zone that it does not know for UTC.
		if named := strings.Contains(layout, "MST") && !strings.Contains(layout, "-0700"); named {
			if zone, _ := at.Zone(); zone != "UTC" && zone != "GMT" {
				continue
			}
		}
		return at.UnixMilli(), true
	}
	for _, layout := range []string{"1/2/2006", "2/1/2006"} {
		if at, err := time.Parse(layout, text); err == nil && at.Day() > 12 {
			return at.UnixMilli(), true
		}
	}
	return 0, false
}

// timeLayouts: what has no zone is UTC. Fractions of a second are read wherever
// seconds are.
var timeLayouts = []string{
	time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02T15:04",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04:05 MST",
	"2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly, "2006/01/02", "2006/01/02 15:04:05",
	"Jan 2, 2006", "January 2, 2006", "Jan 2 2006", "2 Jan 2006", "2 January 2006", "02-Jan-2006", "02.01.2006", "2.1.2006", "02.01.2006 15:04:05", "02.01.2006 15:04",
	"Jan 2, 2006, 3:04 PM", "Jan 2, 2006, 3:04:05 PM", "Jan 2, 2006 3:04 PM", "January 2, 2006 at 3:04 PM", "Jan 2, 2006 15:04", "Jan 2, 2006, 15:04:05",
	time.RFC1123, time.RFC1123Z, "Mon Jan 2 15:04:05 MST 2006", "Mon Jan 2 2006",
}

// scopesJSON is a list of scopes, as JSON, Python, Spark or a person writes it.
// What is none stays text, and becomes a defect of its row.
func scopesJSON(text string) string {
	if _, ok := asTexts(json.RawMessage(text)); ok && json.Valid([]byte(text)) && text[0] == '[' {
		return text
	}
	inner := text
	if strings.HasPrefix(inner, "[") && strings.HasSuffix(inner, "]") {
		inner = inner[1 : len(inner)-1]
	}
	var scopes []string
	for _, scope := range strings.FieldsFunc(inner, func(r rune) bool { return strings.ContainsRune(",; \t\n", r) }) {
		scope = strings.Trim(scope, `'"`)
		if !scopeName(scope) {
			return quote(text)
		}
		scopes = append(scopes, quote(scope))
	}
	return "[" + strings.Join(scopes, ",") + "]"
}
