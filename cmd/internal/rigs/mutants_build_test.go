package rigs

import (
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path"
	"path/filepath"
	"testing"

	"golang.org/x/tools/go/packages"
)

// TestMutantsBuild: the types of every mutant check. One that does not compile
// would keep all the others from being built with it.
func TestMutantsBuild(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedDeps | packages.NeedExportFile,
		Dir:  root,
	}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]string{}  // import path → what its compiler wrote of its types
	sources := map[string][]string{} // folder from the top of the module → files
	packages.Visit(loaded, func(p *packages.Package) bool {
		exported[p.PkgPath] = p.ExportFile
		return true
	}, nil)
	for _, p := range loaded {
		for _, file := range p.GoFiles {
			name, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			name = filepath.ToSlash(name)
			sources[path.Dir(name)] = append(sources[path.Dir(name)], name)
		}
	}
	set := token.NewFileSet()
	libraries := importer.ForCompiler(set, "gc", func(name string) (io.ReadCloser, error) { return os.Open(exported[name]) })

	// problem is what is wrong in a folder when some files are others.
	problem := func(dir string, instead map[string]string) error {
		names := sources[dir]
		if chosen := path.Join(dir, "mutant_chosen.go"); instead[chosen] != "" {
			names = append([]string{chosen}, names...)
		}
		if len(names) == 0 {
			return errors.New("no such package")
		}
		var files []*ast.File
		for _, name := range names {
			var text any
			if instead[name] != "" {
				text = instead[name]
			}
			file, err := parser.ParseFile(set, filepath.Join(root, filepath.FromSlash(name)), text, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			files = append(files, file)
		}
		_, err := (&types.Config{Importer: libraries}).Check(dir, set, files, nil)
		return err
	}

	together := newMutantOverlay("chosen")
	inDir := map[string][]mutant{} // those that are built together
	for _, m := range mutants(t) {
		if path.Ext(m.file) != ".go" {
			continue
		}
		if err := together.add(root, m); err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		if dir := path.Dir(m.file); together.holds[m.name] {
			inDir[dir] = append(inDir[dir], m)
		} else if text, err := m.apply(root); err != nil {
			t.Errorf("%s: %v", m.name, err)
		} else if err := problem(dir, map[string]string{m.file: text}); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	instead, err := together.files(root)
	if err != nil {
		t.Fatal(err)
	}
	for dir, held := range inDir {
		if problem(dir, instead) == nil {
			continue
		}
		named := false
		for _, m := range held {
			alone := newMutantOverlay("chosen")
			if err := alone.add(root, m); err != nil {
				t.Fatal(err)
			}
			files, err := alone.files(root)
			if err != nil {
				t.Fatal(err)
			}
			if err := problem(dir, files); err != nil {
				t.Errorf("%s: %v", m.name, err)
				named = true
			}
		}
		if !named {
			t.Errorf("%s: %v", dir, problem(dir, instead))
		}
	}
}
