package rigs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// TestOtherSystems: everything, tests included, has no error of a compiler on the
// systems that a release is for. Types are checked from source: compiling some 500
// packages of libraries for each system takes ten times as long and tells no more.
func TestOtherSystems(t *testing.T) {
	if os.Getenv("PATROLTEST_SYSTEMS") == "" {
		t.Skip("make platforms runs it")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, system := range strings.Fields(os.Getenv("PATROLTEST_SYSTEMS")) {
		t.Run(strings.ReplaceAll(system, "/", "-"), func(t *testing.T) {
			goos, goarch, _ := strings.Cut(system, "/")
			found, err := packages.Load(&packages.Config{
				Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
					packages.NeedDeps | packages.NeedTypes | packages.NeedTypesSizes | packages.NeedSyntax | packages.NeedTypesInfo,
				Env:   append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0"),
				Dir:   root,
				Tests: true,
				// Of libraries, what they declare is all that is needed.
				ParseFile: func(set *token.FileSet, name string, text []byte) (*ast.File, error) {
					file, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
					if file == nil || strings.HasPrefix(name, root) {
						return file, err
					}
					for _, declaration := range file.Decls {
						if function, ok := declaration.(*ast.FuncDecl); ok {
							function.Body = nil
						}
					}
					return file, err
				},
			}, "./...")
			if err != nil {
				t.Fatal(err)
			}
			files := 0
			for _, p := range found {
				if strings.HasSuffix(p.PkgPath, ".test") {
					continue // what go test makes to start them
				}
				files += len(p.CompiledGoFiles)
				for _, problem := range p.Errors {
					t.Error(problem)
				}
			}
			if files < 500 {
				t.Errorf("only %d files were looked at", files)
			}
		})
	}
}
