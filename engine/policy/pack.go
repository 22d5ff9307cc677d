package policy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing/fstest"

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
	uses    []string // documents that the module imports or refers to in full

	tolerates []string // sections, by METADATA
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
		err := eachFile(pack.FS, func(name string) error {
			text, err := fs.ReadFile(pack.FS, name)
			switch {
			case err != nil:
				return err
			case len(text) > maxFile:
				return &fs.PathError{Op: "read", Path: name, Err: errTooLarge}
			case path.Ext(name) == ".json":
				resource := engine.Resource(strings.TrimSuffix(path.Base(name), ".json"))
				if all.schemas[resource] != nil { // what input looks like is for the first pack to say, which is patrol's
					return nil
				}
				parsed, err := parseSchema(text)
				if err != nil {
					problems.add(path.Join(pack.Name, name), 0, reasonSchema, "%v", err)
					return nil
				}
				all.schemas[resource] = parsed
				return nil
			}
			kind := policySource
			switch {
			case strings.HasSuffix(name, "_test.rego"):
				kind = testSource
			case strings.HasPrefix(name, "lib/"):
				kind = librarySource
			}
			all.files = append(all.files, &source{pack: pack.Name, path: name, text: string(text), trusted: pack.Trusted, kind: kind})
			return nil
		})
		if err != nil {
			problems.add(pack.Name, 0, reasonRead, "%v", err)
		} else if len(all.files)+len(all.schemas) == before { // whoever gives a pack means its policies
			problems.add(pack.Name, 0, reasonRead, "no Rego file in it")
		}
	}
	workspace := all.schemas[engine.ResourceWorkspace].properties()["workspace"]
	for resource, s := range all.schemas {
		if left, open := s.properties()["workspace"].(map[string]any); open && len(left) == 0 && workspace != nil {
			s.properties()["workspace"] = workspace // a workspace looks alike in every input
		}
		all.schemaTexts[resource] = string(engine.CompactJSON(s))
	}
	return all
}

// eachFile visits what is part of a pack, in the order of names.
func eachFile(fsys fs.FS, visit func(name string) error) error {
	entries := 0
	return fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if entries++; entries > maxEntries {
			return fmt.Errorf("more than %d files and directories", maxEntries)
		}
		switch {
		case err != nil:
			return err
		case entry.IsDir() && hidden(name):
			return fs.SkipDir
		case entry.IsDir() || !ofPack(name):
			return nil
		}
		return visit(name)
	})
}

func hidden(name string) bool {
	base := path.Base(name)
	return base != "." && strings.HasPrefix(base, ".")
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
		file.module, file.uses = module, dataRefs(module)
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
		return "package " + name + ": want patrol.token.<name>, patrol.workspace.<name>, patrol.secret.<name> or patrol.waiver.<name>"
	}
	folder, _, inFolder := strings.Cut(file.path, "/")
	if inFolder && knownResource(folder) && folder != parts[1] {
		return "package " + name + " stands in folder " + folder + "/: the second part of the package is the resource"
	}
	return ""
}

func knownResource(name string) bool {
	return slices.Contains(resources, engine.Resource(name))
}

// resources are what policies judge.
var resources = []engine.Resource{engine.ResourceToken, engine.ResourceWorkspace, engine.ResourceSecret, engine.ResourceWaiver}

// PackText is a pack as text: what a sandbox is handed.
type PackText struct {
	Name    string
	Trusted bool
	Files   map[string][]byte // as bytes, so that what is no UTF-8 arrives as it is
}

// Pack is the pack that the text is of.
func (t PackText) Pack() Pack {
	files := fstest.MapFS{}
	for path, text := range t.Files {
		files[path] = &fstest.MapFile{Data: text}
	}
	return Pack{Name: t.Name, FS: files, Trusted: t.Trusted}
}

// Texts is what was loaded as text, with or without the tests.
func (s *Set) Texts(tests bool) []PackText { return s.sources.texts(tests) }

// ReadTexts reads packs as text, without their tests. What is wrong with them is for
// Load to report, except what kept them from being read.
func ReadTexts(packs []Pack) ([]PackText, error) {
	var problems Problems
	all := readPacks(packs, &problems)
	return all.texts(false), problems.Err()
}

// texts puts the schemas first, since the first pack that has one says what input is.
func (s sources) texts(tests bool) []PackText {
	schemas := map[string][]byte{}
	for _, resource := range engine.SortedKeys(s.schemas) {
		schemas["schemas/"+string(resource)+".json"] = engine.CompactJSON(s.schemas[resource])
	}
	list := []PackText{{Name: "schemas", Files: schemas}}
	for _, file := range s.files {
		if file.kind == testSource && !tests {
			continue
		}
		if last := list[len(list)-1]; len(list) == 1 || last.Name != file.pack {
			list = append(list, PackText{Name: file.pack, Trusted: file.trusted, Files: map[string][]byte{}})
		}
		list[len(list)-1].Files[file.path] = []byte(file.text)
	}
	return list
}

// The bounds of a pack that did not come with patrol.
const (
	maxFile    = 1 << 20  // a Rego file or schema
	maxPack    = 16 << 20 // all of them
	maxFiles   = 2000
	maxEntries = 20_000 // of a directory, whatever they are
)

var errTooLarge = errors.New("larger than 1 MiB")

// OpenDirectory reads a directory of policies as a pack: regular files alone, within
// bounds, and nothing to which a link leads out of it. What is read is what is judged,
// whatever becomes of the files.
func OpenDirectory(dir string) (Pack, error) {
	pack := Pack{Name: dir}
	err := ownName(dir)
	if err == nil {
		pack.FS, err = readDirectory(dir)
	}
	if err != nil {
		return Pack{}, engine.UsageError("load policies from", dir, "Name a directory of .rego files, or a bundle ending in .tar.gz, with --policy.", err)
	}
	return pack, nil
}

// ownName refuses the name by which findings tell patrol's own policies.
func ownName(name string) error {
	if name == BuiltIn {
		return fmt.Errorf("%s is what patrol's own policies are called; write ./%s", BuiltIn, BuiltIn)
	}
	return nil
}

func readDirectory(dir string) (fs.FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files, total := fstest.MapFS{}, 0
	err = eachFile(root.FS(), func(name string) error {
		if engine.SafeText(name) != name {
			return fmt.Errorf("%s: the name holds characters that are not seen", engine.SafeText(name))
		}
		text, err := readRegular(root, name, maxFile)
		if err != nil {
			return err
		}
		if total += len(text); total > maxPack || len(files) >= maxFiles {
			return fmt.Errorf("more than %d MiB or %d files", maxPack>>20, maxFiles)
		}
		files[name] = &fstest.MapFile{Data: text, Mode: 0o400}
		return nil
	})
	return files, err
}

// ofPack reports whether a file is part of a pack.
func ofPack(name string) bool {
	return !hidden(name) && (path.Ext(name) == ".rego" || path.Dir(name) == "schemas" && path.Ext(name) == ".json")
}

// readRegular reads a regular file. It does not wait for a pipe that nobody writes to.
func readRegular(root *os.Root, name string, limit int) ([]byte, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is no regular file")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	text, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err == nil && len(text) > limit {
		err = fmt.Errorf("larger than %d MiB", limit>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}
