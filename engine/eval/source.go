package eval

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
)

// Pack is a directory of policies.
type Pack struct {
	Name string // "built-in", or the directory it was read from
	FS   fs.FS
	// Trusted packs are judged in this process also where there is a sandbox.
	Trusted bool
}

// BuiltIn is how the pack of patrol's own policies is called.
const BuiltIn = "built-in"

// libraryPackage is the only document besides input that policies may use.
const libraryPackage = "patrol.lib"

type sourceKind int

const (
	policySource sourceKind = iota
	librarySource
	testSource
)

// source is one Rego file of a pack.
type source struct {
	pack    string
	path    string // relative to the pack
	text    string
	trusted bool // as the pack
	kind    sourceKind
	module  *ast.Module
}

// place is how errors name the file.
func (s *source) place() string { return path.Join(s.pack, s.path) }

// pkg is the name of the module's package, without "data.".
func (s *source) pkg() string { return strings.TrimPrefix(s.module.Package.Path.String(), "data.") }

// line is where the package is declared.
func (s *source) line() int { return s.module.Package.Location.Row }

// sources is what the packs hold.
type sources struct {
	files   []*source // in the order of packs, then paths
	schemas map[engine.Resource]schema

	schemaTexts map[engine.Resource]string // as compact JSON
}

func (s sources) of(kind sourceKind) []*source {
	var files []*source
	for _, file := range s.files {
		if file.kind == kind {
			files = append(files, file)
		}
	}
	return files
}

func readPacks(packs []Pack, problems *Problems) sources {
	all := sources{schemas: map[engine.Resource]schema{}, schemaTexts: map[engine.Resource]string{}}
	for _, pack := range packs {
		before := len(all.files) + len(all.schemas)
		err := fs.WalkDir(pack.FS, ".", func(name string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && hidden(name):
				return fs.SkipDir
			case entry.IsDir() || !ofPack(name):
				return nil
			case path.Ext(name) == ".rego":
				return all.readRego(pack, name)
			}
			return all.readSchema(pack, name, problems)
		})
		if err != nil {
			problems.add(pack.Name, 0, reasonRead, "%v", err)
		} else if len(all.files)+len(all.schemas) == before { // whoever gives a pack means its policies
			problems.add(pack.Name, 0, reasonRead, "no Rego file in it")
		}
	}
	return all
}

func hidden(name string) bool {
	base := path.Base(name)
	return base != "." && strings.HasPrefix(base, ".")
}

func (s *sources) readRego(pack Pack, name string) error {
	text, err := readFile(pack.FS, name)
	if err != nil {
		return err
	}
	s.files = append(s.files, &source{pack: pack.Name, path: name, text: string(text), trusted: pack.Trusted, kind: kindOf(name)})
	return nil
}

func kindOf(name string) sourceKind {
	switch {
	case strings.HasSuffix(name, "_test.rego"):
		return testSource
	case strings.HasPrefix(name, "lib/"):
		return librarySource
	}
	return policySource
}

// readSchema takes the schema of the first pack that has one for the resource:
// what input looks like is patrol's to say, not a pack's.
func (s *sources) readSchema(pack Pack, name string, problems *Problems) error {
	resource := engine.Resource(strings.TrimSuffix(path.Base(name), ".json"))
	if _, taken := s.schemas[resource]; taken {
		return nil
	}
	text, err := readFile(pack.FS, name)
	if err != nil {
		return err
	}
	parsed, err := parseSchema(text)
	if err != nil {
		problems.add(path.Join(pack.Name, name), 0, reasonSchema, "%v", err)
		return nil
	}
	s.schemas[resource], s.schemaTexts[resource] = parsed, string(engine.CompactJSON(parsed))
	return nil
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	text, err := fs.ReadFile(fsys, name)
	if err == nil && len(text) > maxFile {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errTooLarge}
	}
	return text, err
}

// parse parses the files of a kind; those that cannot be parsed are problems.
func (s sources) parse(kind sourceKind, problems *Problems) {
	options := ast.ParserOptions{
		RegoVersion: ast.RegoV1, ProcessAnnotation: true,
		Capabilities: capabilities(),
	}
	for _, file := range s.of(kind) {
		module, err := ast.ParseModuleWithOpts(file.place(), file.text, options)
		if err != nil {
			problems.addOPA(file.place(), err)
			continue
		}
		if module == nil { // nothing but comments
			problems.add(file.place(), 0, reasonParse, "the file is empty")
			continue
		}
		file.module = module
		if kind == policySource && inLibrary(file.pkg()) {
			file.kind = librarySource
		}
	}
}

func inLibrary(pkg string) bool {
	return pkg == libraryPackage || strings.HasPrefix(pkg, libraryPackage+".")
}

// checkPackages holds packages to their places: one policy a package, one
// owner a library package, so that no pack can add rules to another's.
func (s sources) checkPackages(problems *Problems) {
	owners := map[string]*source{}
	for _, file := range s.files {
		if file.module == nil {
			continue
		}
		if message := wrongPackage(file); message != "" {
			problems.add(file.place(), file.line(), reasonPackage, "%s", message)
			continue
		}
		owner, taken := owners[file.pkg()]
		if taken && (file.kind == policySource || owner.pack != file.pack) {
			problems.add(file.place(), file.line(), reasonPackage, "package %s is already in %s", file.pkg(), owner.place())
		}
		owners[file.pkg()] = file
	}
}

func wrongPackage(file *source) string {
	name := file.pkg()
	if file.kind == librarySource {
		if name == libraryPackage && file.pack != BuiltIn {
			return "package " + name + " is patrol's own; name yours " + libraryPackage + ".<name>"
		}
		if inLibrary(name) {
			return ""
		}
		return "package " + name + ": files under lib/ belong to " + libraryPackage + ".<name>"
	}
	parts := strings.Split(name, ".")
	if len(parts) != 3 || parts[0] != "patrol" || !knownResource(parts[1]) {
		return "package " + name + ": want " + resourceWords()
	}
	folder, _, inFolder := strings.Cut(file.path, "/")
	if inFolder && knownResource(folder) && folder != parts[1] {
		return "package " + name + " stands in folder " + folder + "/: the second part of the package is the resource"
	}
	return ""
}

func knownResource(name string) bool {
	return slices.Contains(resources(), engine.Resource(name))
}
