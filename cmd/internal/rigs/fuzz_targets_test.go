package rigs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFuzzTargetsHaveSeeds: a fuzz target shows on every commit what its seeds
// show, so that each has some, or inputs that failed once.
func TestFuzzTargetsHaveSeeds(t *testing.T) {
	t.Parallel()
	found := 0
	err := filepath.WalkDir(moduleRoot(t), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			target, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(target.Name.Name, "Fuzz") || target.Recv != nil {
				continue
			}
			found++
			kept, _ := os.ReadDir(filepath.Join(filepath.Dir(path), "testdata", "fuzz", target.Name.Name)) // most have none
			if len(kept) == 0 && !seeds(target) {
				t.Errorf("%s: %s has no seeds", path, target.Name.Name)
			}
		}
		return nil
	})
	if err != nil || found < 20 {
		t.Errorf("%d fuzz targets: %v", found, err)
	}
}

// seeds reports whether a target adds inputs, or has a function add some.
func seeds(target *ast.FuncDecl) (found bool) {
	f := target.Type.Params.List[0].Names[0].Name
	ast.Inspect(target.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if method, ok := call.Fun.(*ast.SelectorExpr); ok && isNamed(method.X, f) {
			found = found || method.Sel.Name == "Add"
			return true
		}
		for _, argument := range call.Args {
			found = found || isNamed(argument, f) && strings.HasPrefix(called(call), "seed")
		}
		return true
	})
	return found
}

func isNamed(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

func called(call *ast.CallExpr) string {
	if id, ok := call.Fun.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}
