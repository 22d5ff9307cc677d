package policy

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
	"patrol/engine/enginetest"
)

// Every builtin of this version of OPA is allowed or refused, and nothing else is.
func TestBuiltinsAreClassified(t *testing.T) {
	t.Parallel()
	yes, no := allowed(), refused()
	var known []string
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		known = append(known, b.Name)
		if isAllowed, why := slices.Contains(yes, b.Name), no[b.Name]; isAllowed == (why != "") {
			t.Errorf("builtin %s: allowed %v, refused because %q: want exactly one", b.Name, isAllowed, why)
		}
		if slices.Contains(yes, b.Name) && (b.IsNondeterministic() || b.IsDeprecated()) {
			t.Errorf("builtin %s is allowed, but nondeterministic or deprecated", b.Name)
		}
	}
	for _, name := range slices.Concat(yes, slices.Collect(maps.Keys(no))) {
		if !slices.Contains(known, name) {
			t.Errorf("builtin %s does not exist in this version of OPA", name)
		}
	}
}

// A policy that calls a refused builtin does not load, and is told why.
func TestRefusedBuiltins(t *testing.T) {
	t.Parallel()
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		why, is := refused()[b.Name]
		if !is {
			continue
		}
		args := strings.TrimSuffix(strings.Repeat("input.token.id, ", b.Decl.Arity()), ", ")
		problems := problemsOf(t, enginetest.TokenPolicy("", fmt.Sprintf("deny contains \"x\" if x := %s(%s)", b.Name, args)))
		if !slices.ContainsFunc(problems, func(p Problem) bool {
			return p.Reason == reasonSandbox && p.Line == 10 && strings.Contains(p.Message, b.Name) && strings.Contains(p.Message, why)
		}) {
			t.Errorf("%s: %v", b.Name, problems)
		}
	}
}

func TestProblemsInRego(t *testing.T) {
	t.Parallel()
	params := "params: {limit: {default: 90, description: days}, names: {default: [a], description: names}}"
	for name, c := range map[string]struct {
		resource, custom, body, library string
		reason, file, message           string
		line                            int
	}{
		"misspelt root":                          {body: `deny contains "x" if input.tokn.age_days > 1`, reason: reasonType, line: 10, message: "undefined ref: input.tokn"},
		"misspelt field":                         {body: `deny contains "x" if input.token.age_day > 1`, reason: reasonType, line: 10, message: "undefined ref: input.token.age_day"},
		"misspelt owner field":                   {body: `deny contains "x" if input.owner.activ`, reason: reasonType, line: 10, message: "input.owner.activ"},
		"misspelt parameter":                     {custom: params, body: `deny contains "x" if input.token.age_days > input.params.limt`, reason: reasonType, line: 11, message: "input.params.limt"},
		"parameter never declared":               {body: `deny contains "x" if input.token.age_days > input.params.limit`, reason: reasonType, line: 10, message: "input.params"},
		"parameter of another type":              {custom: params, body: `deny contains "x" if startswith(input.token.comment, input.params.limit)`, reason: reasonType, line: 11, message: "invalid argument"},
		"element of another type":                {custom: params, body: "deny contains \"x\" if {\n\tsome n in input.params.names\n\tn + 1 > 2\n}", reason: reasonType, line: 13, message: "invalid argument"},
		"number against text":                    {body: `deny contains "x" if input.token.comment == 1`, reason: reasonType, line: 10, message: "match error"},
		"number beside text":                     {body: `deny contains "x" if input.token.age_days > "90"`, reason: reasonType, line: 10, message: "> compares what can never be of one type: number and string"},
		"number beside a text parameter":         {custom: "params: {limit: {default: \"90\", description: days}}", body: `deny contains "x" if input.token.age_days >= input.params.limit`, reason: reasonType, line: 11, message: ">= compares"},
		"text beside truth":                      {body: `deny contains "x" if input.owner.kind != true`, reason: reasonType, line: 10, message: "!= compares what can never be of one type: string and boolean"},
		"length beside text":                     {body: `deny contains "x" if count(input.token.scopes) < "3"`, reason: reasonType, line: 10, message: "< compares"},
		"variable beside text":                   {body: "deny contains \"x\" if {\n\tage := input.token.age_days\n\tage <= \"3\"\n}", reason: reasonType, line: 12, message: "<= compares"},
		"within a comprehension":                 {body: `deny contains "x" if count([1 | some s in input.token.scopes; s > 3]) > 0`, reason: reasonType, line: 10, message: "> compares what can never be of one type: string and number"},
		"number among texts":                     {custom: params, body: `deny contains "x" if input.token.age_days in input.params.names`, reason: reasonType, line: 11, message: "match error"},
		"number beside text in the library":      {body: `deny contains "x" if data.patrol.lib.l.old`, library: "package patrol.lib.l\n\nold if input.token.age_days > \"1\"\n", file: "pack/lib/l.rego", reason: reasonType, line: 3, message: "> compares"},
		"a value that cannot be":                 {body: `deny contains "x" if input.owner.kind == "usr"`, reason: reasonType, line: 10, message: `input.owner.kind is never "usr": did you mean user?`},
		"a value that it is always not":          {body: `deny contains "x" if "robot" != input.owner.kind`, reason: reasonType, line: 10, message: `input.owner.kind is never "robot": want one of user, service_principal, missing`},
		"a value among those that can be":        {body: `deny contains "x" if input.owner.kind in {"user", "servicePrincipal"}`, reason: reasonType, line: 10, message: `input.owner.kind is never "servicePrincipal"`},
		"a value of a row that cannot be":        {body: "deny contains \"x\" if {\n\tsome grant in input.workspace.grants\n\tgrant.kind == \"groop\"\n}", reason: reasonType, line: 12, message: `is never "groop": did you mean group?`},
		"a value that cannot be, by a variable":  {body: "deny contains \"x\" if {\n\tkind := input.owner.kind\n\tcount([1 | kind == \"User\"]) > 0\n}", reason: reasonType, line: 12, message: `did you mean user?`},
		"token in a workspace":                   {resource: "workspace", body: `deny contains "x" if input.token.age_days > 1`, reason: reasonType, line: 10, message: "undefined ref: input.token"},
		"misspelt in the library":                {body: `deny contains "x" if data.patrol.lib.l.old`, library: "package patrol.lib.l\n\nold if input.token.agedays > 1\n", file: "pack/lib/l.rego", reason: reasonType, line: 3, message: "input.token.agedays"},
		"misspelt in a library that nobody uses": {body: `deny contains "x" if input.token.used`, library: "package patrol.lib.l\n\nold if input.token.agedays > 1\n", file: "pack/lib/l.rego", reason: reasonType, line: 3, message: "input.token.agedays"},
		"other data":                             {body: `deny contains "x" if data.secrets.key == input.token.id`, reason: reasonSandbox, line: 10, message: "data.secrets.key is neither input nor patrol.lib"},
		"rule not in lib":                        {body: `deny contains "x" if data.patrol.lib.nothing`, reason: reasonSandbox, line: 10, message: "data.patrol.lib.nothing"},
		"undefined function":                     {body: `deny contains "x" if data.patrol.lib.f(input.token.id)`, reason: reasonType, line: 10, message: "undefined function data.patrol.lib.f"},
		"mock of http.send":                      {body: `deny contains "x" if input.token.used with http.send as 1`, reason: reasonType, line: 10, message: "with keyword target must reference existing"},
		"unused variable":                        {body: `deny contains "x" if y := input.token.used`, reason: reasonCompile, line: 10, message: "assigned var y unused"},
		"unsafe variable":                        {body: `deny contains x if input.token.used`, reason: reasonCompile, line: 10, message: "x is unsafe"},
		"recursion":                              {body: "a if b\n\nb if a\n\ndeny contains \"x\" if a", reason: reasonCompile, line: 10, message: "recursive"},
		"no deny":                                {body: `denies contains "x" if input.token.used`, reason: reasonDeny, line: 8, message: "no rule named deny"},
		"old Rego":                               {body: `deny["x"] { input.token.used }`, reason: reasonParse, line: 10, message: "if"},
		"no Rego":                                {body: `deny contains "x" if if`, reason: reasonParse, line: 10, message: "unexpected"},
	} {
		t.Run(name, func(t *testing.T) {
			resource, file := "token", c.file
			if c.resource != "" {
				resource = c.resource
			}
			if file == "" {
				file = "pack/" + resource + "/rule.rego"
			}
			files := map[string]string{resource + "/rule.rego": enginetest.PolicyText(resource, "rule", "X-1", c.custom, c.body)}
			if c.library != "" {
				files["lib/l.rego"] = c.library
			}
			wantProblem(t, problemsOf(t, files), Problem{File: file, Line: c.line, Reason: c.reason, Message: c.message})
		})
	}
}

func wantProblem(t *testing.T, got Problems, want Problem) {
	t.Helper()
	if !slices.ContainsFunc(got, func(p Problem) bool {
		return p.File == want.File && p.Line == want.Line && p.Reason == want.Reason && strings.Contains(p.Message, want.Message)
	}) {
		t.Errorf("want %v\ngot\n%v", want, got)
	}
}

func TestProblemsInMetadata(t *testing.T) {
	t.Parallel()
	const deny = "\n\ndeny contains \"x\" if input.token.used\n"
	block := func(lines ...string) string {
		return "# METADATA\n# " + strings.Join(lines, "\n# ") + "\npackage patrol.token.rule" + deny
	}
	whole := func(change func([]string) []string) string {
		return block(change([]string{"title: T", "description: D", "custom:", "  id: X-1", "  severity: high", "  remedy: revoke"})...)
	}
	without := func(line int) string {
		return whole(func(l []string) []string { return slices.Delete(l, line, line+1) })
	}
	with := func(line string) string {
		return whole(func(l []string) []string { return append(l, line) })
	}
	swap := func(at int, line string) string {
		return whole(func(l []string) []string { l[at] = line; return l })
	}
	for name, c := range map[string]struct {
		text    string
		line    int
		message string
	}{
		"none":                     {"package patrol.token.rule" + deny, 1, "no METADATA"},
		"no title":                 {without(0), 1, "title is missing"},
		"no description":           {without(1), 1, "description is missing"},
		"no id":                    {without(3), 1, "id is missing"},
		"no severity":              {without(4), 1, "severity is missing"},
		"no remedy":                {without(5), 1, "remedy is missing"},
		"blank title":              {swap(0, `title: " "`), 2, "title is missing"},
		"id of another type":       {swap(3, "  id: 12"), 5, "id: want a string"},
		"id with spaces":           {swap(3, "  id: X 1"), 5, `id "X 1"`},
		"unknown severity":         {swap(4, "  severity: severe"), 6, `severity "severe": want one of critical`},
		"severity in capitals":     {swap(4, "  severity: High"), 6, `severity "High"`},
		"unknown remedy":           {swap(5, "  remedy: delete"), 7, `remedy "delete"`},
		"unknown judges":           {with("  judges: dead"), 8, `judges "dead"`},
		"unknown key":              {with("  remdy: x"), 8, "unknown key custom.remdy"},
		"key beside custom":        {with("needs: [tokens]"), 8, "unknown key needs in METADATA; it belongs under custom"},
		"needs no list":            {with("  needs: tokens"), 8, "needs: want a list"},
		"needs nothing known":      {with("  needs: [tokns]"), 8, "no section is called tokns"},
		"controls no map":          {with("  controls: [IA-5]"), 8, "controls: want a map"},
		"control no list":          {with("  controls: {nist: IA-5}"), 8, "nist: want a list"},
		"control a number":         {with("  controls: {cis: [2.1]}"), 8, "quote it"},
		"aliases of numbers":       {with("  aliases: [1]"), 8, "aliases: want a list of strings"},
		"remediation no text":      {with("  remediation: [a]"), 8, "remediation: want a string"},
		"params no map":            {with("  params: [limit]"), 8, "params: want a map"},
		"param without default":    {with("  params: {limit: {description: D}}"), 8, "parameter limit: default is missing"},
		"param with null":          {with("  params: {limit: {default: null, description: D}}"), 8, "default is missing"},
		"param without words":      {with("  params: {limit: {default: 1}}"), 8, "parameter limit: description is missing"},
		"param with more":          {with("  params: {limit: {default: 1, description: D, max: 2}}"), 8, "unknown key max"},
		"param of another name":    {with("  params: {Limit: {default: 1, description: D}}"), 8, "small letters"},
		"param no map":             {with("  params: {limit: 90}"), 8, "want {default"},
		"param a date":             {with("  params: {day: {default: 2026-01-01, description: D}}"), 8, "no JSON value"},
		"schema of other resource": {with("schemas: [{input: schema.workspace}]"), 8, "want [{input: schema.token}]"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := problemsOf(t, map[string]string{"token/rule.rego": c.text})
			wantProblem(t, problems, Problem{File: "pack/token/rule.rego", Line: c.line, Reason: reasonMetadata, Message: c.message})
		})
	}
	t.Run("no YAML", func(t *testing.T) {
		wantProblem(t, problemsOf(t, map[string]string{"token/rule.rego": with("  a: [")}),
			Problem{File: "pack/token/rule.rego", Line: 8, Reason: reasonParse, Message: "yaml"})
	})
}

func TestProblemsOfPackages(t *testing.T) {
	t.Parallel()
	fires := `deny contains "x" if input.token.used`
	rule := func(resource, name, id string) string { return enginetest.PolicyText(resource, name, id, "", fires) }
	for name, c := range map[string]struct {
		files map[string]string
		want  Problem
	}{
		"other root":        {map[string]string{"token/a.rego": strings.Replace(rule("token", "a", "A"), "patrol.", "acme.", 1)}, Problem{"pack/token/a.rego", 8, reasonPackage, "want patrol.token.<name>"}},
		"unknown resource":  {map[string]string{"token/a.rego": rule("cluster", "a", "A")}, Problem{"pack/token/a.rego", 8, reasonPackage, "want patrol.token.<name>"}},
		"wrong folder":      {map[string]string{"workspace/a.rego": rule("token", "a", "A")}, Problem{"pack/workspace/a.rego", 8, reasonPackage, "stands in folder workspace/"}},
		"too deep":          {map[string]string{"token/a.rego": rule("token", "a.b", "A")}, Problem{"pack/token/a.rego", 8, reasonPackage, "want patrol.token.<name>"}},
		"library elsewhere": {map[string]string{"lib/a.rego": "package patrol.token.a\n"}, Problem{"pack/lib/a.rego", 1, reasonPackage, "belong to patrol.lib"}},
		"package twice":     {map[string]string{"token/a.rego": rule("token", "a", "A"), "token/b.rego": rule("token", "a", "B")}, Problem{"pack/token/b.rego", 8, reasonPackage, "is already in pack/token/a.rego"}},
		"id twice":          {map[string]string{"token/a.rego": rule("token", "a", "A"), "token/b.rego": rule("token", "b", "a")}, Problem{"pack/token/b.rego", 0, reasonDuplicateID, "already that of pack/token/a.rego"}},
		"empty file":        {map[string]string{"token/a.rego": "# nothing\n"}, Problem{"pack/token/a.rego", 0, reasonParse, "empty"}},
	} {
		t.Run(name, func(t *testing.T) { wantProblem(t, problemsOf(t, c.files), c.want) })
	}
}

// A pack can neither add rules to another's library nor take its ids.
func TestPacksKeepApart(t *testing.T) {
	t.Parallel()
	ours := pack("built-in2", map[string]string{
		"lib/l.rego":   "package patrol.lib.l\n\nold if input.token.age_days > 9\n",
		"token/a.rego": enginetest.PolicyText("token", "a", "A-1", "", `deny contains "x" if data.patrol.lib.l.old`),
	})
	theirs := pack("theirs", map[string]string{
		"lib/m.rego":   "package patrol.lib.l\n\nold if input.token.used\n",
		"token/b.rego": enginetest.PolicyText("token", "b", "A-1", "", `deny contains "x" if input.token.used`),
	})
	_, err := Load(t.Context(), schemas(t), ours, theirs)
	wantProblem(t, asProblems(t, err), Problem{"theirs/lib/m.rego", 1, reasonPackage, "already in built-in2/lib/l.rego"})
}

// All mistakes of all files are told at once, each once, in order.
func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	files := map[string]string{"lib/l.rego": "package patrol.lib.l\n\nold if input.token.agedays > 9\n"}
	for _, name := range []string{"a", "b"} {
		files["token/"+name+".rego"] = enginetest.PolicyText("token", name, "", "", `deny contains "x" if data.patrol.lib.l.old`)
	}
	problems := problemsOf(t, files)
	var places []string
	for _, p := range problems {
		places = append(places, fmt.Sprintf("%s:%d %s", p.File, p.Line, p.Reason))
	}
	want := []string{"pack/lib/l.rego:3 policy_type", "pack/token/a.rego:5 policy_metadata", "pack/token/b.rego:5 policy_metadata"}
	if !slices.Equal(slices.Compact(places), want) {
		t.Errorf("got %q, want %q", places, want)
	}
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	files := enginetest.TokenPolicy("", `deny contains "x" if input.token.used`)
	_, err := Load(t.Context(), pack("pack", files))
	wantProblem(t, asProblems(t, err), Problem{"pack/token/rule.rego", 8, reasonSchema, "schemas/token.json"})
	files["schemas/token.json"] = "{"
	_, err = Load(t.Context(), pack("pack", files))
	wantProblem(t, asProblems(t, err), Problem{"pack/schemas/token.json", 0, reasonSchema, "unexpected end"})
	// The schema of the first pack holds: another cannot loosen it.
	files = enginetest.TokenPolicy("", `deny contains "x" if input.token.anything`)
	files["schemas/token.json"] = `{"properties": {"token": {}}}`
	wantProblem(t, problemsOf(t, files), Problem{"pack/token/rule.rego", 10, reasonType, "input.token.anything"})
}

func TestFiles(t *testing.T) {
	t.Parallel()
	good := enginetest.PolicyText("token", "rule", "T-1", "", `deny contains "x" if input.token.used`)
	set := load(t, map[string]string{
		"token/rule.rego": good, "token/rule_test.rego": "this is no Rego", ".git/x.rego": "nor this", "token/.#rule.rego": "nor this", "notes.txt": "x",
		"flat.rego": enginetest.PolicyText("workspace", "flat", "W-1", "", `deny contains "x" if input.workspace.pats_enabled`),
	})
	var files []string
	for _, p := range set.Policies() {
		files = append(files, p.File)
	}
	if !slices.Equal(files, []string{"token/rule.rego", "flat.rego"}) {
		t.Errorf("files %v", files)
	}
	_, err := Load(t.Context(), schemas(t), pack("bare", map[string]string{"readme.txt": "x"}))
	wantProblem(t, asProblems(t, err), Problem{"bare", 0, reasonRead, "no Rego file"})
	_, err = Load(t.Context(), Pack{Name: "nowhere", FS: os.DirFS(t.TempDir() + "/none")})
	wantProblem(t, asProblems(t, err), Problem{"nowhere", 0, reasonRead, "no such file"})
	_, err = Load(t.Context(), Pack{Name: "gone", FS: fstest.MapFS{"token/big.rego": {Data: make([]byte, maxFile+1)}}})
	wantProblem(t, asProblems(t, err), Problem{"gone", 0, reasonRead, "larger than 1 MiB"})
}

// A library is known by its package, wherever its file lies.
func TestLibraryInAnyFolder(t *testing.T) {
	t.Parallel()
	load(t, map[string]string{
		"policies/lib/l.rego":   "package patrol.lib.mine\n\nold if input.token.age_days > 9\n",
		"policies/token/a.rego": enginetest.PolicyText("token", "a", "A-1", "", `deny contains "x" if data.patrol.lib.mine.old`),
	})
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	text := enginetest.PolicyText("token", "rule", "T-1", `remediation: Revoke it.
controls: {nist-800-53r5: [IA-5], cis: ["2.1.6"]}
aliases: ["sat:IA-4"]
needs: [settings.enableTokensConfig]
judges: all
params: {limit: {default: 90, description: days}, ratio: {default: 0.5, description: share}}`,
		`deny contains "x" if input.token.age_days * input.params.ratio > input.params.limit`)
	got := load(t, map[string]string{"token/rule.rego": text}).Policies()[0]
	want := engine.Policy{
		ID: "T-1", Title: "Title of T-1", Description: "Why it matters.", Remediation: "Revoke it.",
		Severity: engine.High, Resource: engine.ResourceToken, Remedy: "revoke",
		Controls: map[string][]string{"nist-800-53r5": {"IA-5"}, "cis": {"2.1.6"}}, Aliases: []string{"sat:IA-4"},
		Needs: []string{"settings.enableTokensConfig", "tokens"}, Judges: engine.JudgesAll,
		Params: []engine.Param{
			{Name: "limit", Description: "days", Default: int64(90), Value: int64(90), Origin: "default"},
			{Name: "ratio", Description: "share", Default: 0.5, Value: 0.5, Origin: "default"},
		},
		Package: "patrol.token.rule", File: "token/rule.rego", Pack: "pack", Source: text,
		Basis: got.Basis, // TestBasis
	}
	enginetest.Equal(t, got, want)
}

func TestOrderSelectDigest(t *testing.T) {
	t.Parallel()
	text := func(id, severity string) string {
		return strings.Replace(enginetest.PolicyText("token", strings.ToLower(id), id, "", `deny contains "x" if input.token.used`), "severity: high", "severity: "+severity, 1)
	}
	files := map[string]string{"token/b.rego": text("B", "low"), "token/a.rego": text("A", "low"), "token/c.rego": text("C", "critical")}
	set := load(t, files)
	ids := func(s *Set) (ids []string) {
		for _, p := range s.Policies() {
			ids = append(ids, p.ID)
		}
		return ids
	}
	enginetest.Equal(t, ids(set), []string{"C", "A", "B"})
	enginetest.Equal(t, ids(set.Select(func(p engine.Policy) bool { return p.ID != "A" })), []string{"C", "B"})
	if again := load(t, files); again.Digest() != set.Digest() || len(set.Digest()) != 64 {
		t.Errorf("digest %q is not stable", set.Digest())
	}
	files["token/a_test.rego"] = "package patrol.token.a_test\n"
	if load(t, files).Digest() != set.Digest() {
		t.Error("a test changes the digest")
	}
	files["token/a.rego"] += "\n"
	if load(t, files).Digest() == set.Digest() {
		t.Error("a changed policy leaves the digest")
	}
}

// TestBasis: a plan rests on a policy's own text and on its Basis, so that the
// library that a policy uses cannot change under an approved plan.
func TestBasis(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"token/a.rego": enginetest.PolicyText("token", "a", "A", "", "import data.patrol.lib.l\n\ndeny contains \"x\" if l.old"),
		"token/b.rego": enginetest.PolicyText("token", "b", "B", "", `deny contains "x" if input.token.used`),
		"lib/l.rego":   "package patrol.lib.l\n\nold if input.token.age_days > 9\n",
	}
	basis := func() [2]string {
		set := load(t, files)
		return [2]string{set.Policies()[0].Basis, set.Policies()[1].Basis}
	}
	before := basis()
	if again := basis(); again != before || len(before[0]) != 64 {
		t.Errorf("basis %v is not stable: %v", before, again)
	}
	files["lib/l.rego"] = strings.Replace(files["lib/l.rego"], "9", "8", 1)
	after := basis()
	if after[0] == before[0] {
		t.Error("a changed library leaves the policy that uses it")
	}
	if after[1] != before[1] {
		t.Error("a changed library changes a policy that does not use it")
	}
}

func TestLoadIsCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Load(ctx, schemas(t), pack("pack", enginetest.TokenPolicy("", `deny contains "x" if input.token.used`)))
	if err == nil || ctx.Err() == nil {
		t.Errorf("got %v", err)
	}
}

// Whatever a pack holds, loading it ends with a set or with problems.
func FuzzLoad(f *testing.F) {
	f.Add(enginetest.PolicyText("token", "rule", "T-1", "params: {limit: {default: 90, description: D}}", `deny contains "x" if input.token.age_days > input.params.limit`))
	f.Add(enginetest.PolicyText("token", "rule", "T-1", "needs: {}", `deny contains x if x := data[input.token.id]`))
	f.Add("# METADATA\n# custom: [\npackage patrol.token.rule\n")
	f.Add("# METADATA\n# scope: subpackages\npackage patrol\n\ndeny if input[_]")
	base := schemas(f)
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Load(t.Context(), base, pack("pack", map[string]string{"token/rule.rego": text}))
		if err != nil {
			asProblems(t, err)
		}
	})
}

// Only sections that exist are tolerated, and only by policies on workspaces.
func TestTolerates(t *testing.T) {
	t.Parallel()
	const body = `deny contains "x" if not input.workspace.pats_enabled`
	for want, files := range map[string]map[string]string{
		"no section is called nothing":  enginetest.WorkspacePolicy("tolerates: [nothing]", body),
		"is for policies on workspaces": enginetest.TokenPolicy("tolerates: [principals]", `deny contains "x" if input.owner.admin`),
	} {
		if text := problemsOf(t, files).Error(); !strings.Contains(text, want) {
			t.Errorf("%s: %s", want, text)
		}
	}
}
