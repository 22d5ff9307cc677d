package rigs

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// mutantOverlay puts many mutants into one build: each function that a mutant
// changes begins by asking whether that mutant was chosen, and then goes on in a
// copy that has the change. What changes outside of functions cannot be chosen
// like that.
//
//	func (d *digester) text(s string) {
//		if mutantChosen == "digest-ambiguous" { d.text_m7(s); return }
//		…
type mutantOverlay struct {
	chosen  string                  // file that names the mutant that holds
	holds   map[string]bool         // mutants that can be chosen
	changes map[string][]funcChange // by file
}

// funcChange is a function as a mutant has it.
type funcChange struct {
	mutant, function string
	copied           string // its declaration under another name
	renamed          string
}

func newMutantOverlay(chosen string) *mutantOverlay {
	return &mutantOverlay{chosen: chosen, holds: map[string]bool{}, changes: map[string][]funcChange{}}
}

// add notes what a mutant changes, if all of that is in functions.
func (o *mutantOverlay) add(root string, m mutant) error {
	if path.Ext(m.file) != ".go" {
		return nil
	}
	mutated, err := m.apply(root)
	if err != nil {
		return err
	}
	original, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
	if err != nil {
		return err
	}
	before, err := readSource(string(original))
	if err != nil {
		return err
	}
	after, err := readSource(mutated)
	if err != nil {
		return err
	}
	if before.rest() != after.rest() {
		return nil
	}
	for name, f := range after.functions {
		was := before.functions[name]
		switch {
		case was == nil:
			return nil
		case after.of(f) == before.of(was):
			continue
		case f.Type.TypeParams != nil || f.Body == nil:
			return nil
		}
		renamed := fmt.Sprintf("%s_m%d", f.Name.Name, len(o.holds))
		o.changes[m.file] = append(o.changes[m.file], funcChange{m.name, name, after.named(f, renamed), renamed})
	}
	o.holds[m.name] = true
	return nil
}

// files are all files that differ, by path from the top of the module.
func (o *mutantOverlay) files(root string) (map[string]string, error) {
	files := map[string]string{}
	for file, changes := range o.changes {
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			return nil, err
		}
		s, err := readSource(string(content))
		if err != nil {
			return nil, err
		}
		files[file] = s.with(changes)
		files[path.Join(path.Dir(file), "mutant_chosen.go")] = fmt.Sprintf(
			"package %s\n\nimport \"os\"\n\nvar mutantChosen = func() string { name, _ := os.ReadFile(%q); return string(name) }()\n", s.file.Name.Name, o.chosen)
	}
	return files, nil
}

// goSource is a file of Go with its functions by receiver and name.
type goSource struct {
	text      string
	files     *token.FileSet
	file      *ast.File
	functions map[string]*ast.FuncDecl
}

func readSource(text string) (*goSource, error) {
	s := &goSource{text: text, files: token.NewFileSet(), functions: map[string]*ast.FuncDecl{}}
	var err error
	if s.file, err = parser.ParseFile(s.files, "", text, parser.SkipObjectResolution); err != nil {
		return nil, err
	}
	for _, decl := range s.file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			name := f.Name.Name
			if f.Recv != nil {
				name = strings.TrimLeft(s.of(f.Recv.List[0].Type), "*") + "." + name
			}
			s.functions[name] = f
		}
	}
	return s, nil
}

func (s *goSource) at(p token.Pos) int { return s.files.Position(p).Offset }

func (s *goSource) of(n ast.Node) string { return s.text[s.at(n.Pos()):s.at(n.End())] }

// rest is the file without its functions.
func (s *goSource) rest() string {
	rest, from := "", 0
	for _, decl := range s.file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			rest += s.text[from:s.at(f.Pos())]
			from = s.at(f.End())
		}
	}
	return rest + s.text[from:]
}

// named is a function's declaration under another name.
func (s *goSource) named(f *ast.FuncDecl, name string) string {
	return s.text[s.at(f.Pos()):s.at(f.Name.Pos())] + name + s.text[s.at(f.Name.End()):s.at(f.End())]
}

// insertion is text that stands at an offset in place of some bytes.
type insertion struct {
	at, instead int
	text        string
}

// with is the file with the changes to be chosen from.
func (s *goSource) with(changes []funcChange) string {
	var edits []insertion
	asked := map[string]string{}
	for _, c := range changes {
		f := s.functions[c.function]
		call, named := s.call(f, c.renamed)
		if asked[c.function] == "" {
			edits = append(edits, named...)
		}
		asked[c.function] += fmt.Sprintf("\n\tif mutantChosen == %q {\n\t\t%s\n\t}", c.mutant, call)
	}
	for name, text := range asked {
		edits = append(edits, insertion{at: s.at(s.functions[name].Body.Lbrace) + 1, text: text + "\n"})
	}
	slices.SortFunc(edits, func(a, b insertion) int { return cmp.Compare(b.at, a.at) }) // from the end on
	text := s.text
	for _, e := range edits {
		text = text[:e.at] + e.text + text[e.at+e.instead:]
	}
	for _, c := range changes {
		text += "\n" + c.copied + "\n"
	}
	return text
}

// call calls the copy of a function with its own arguments, and names those that
// have no name.
func (s *goSource) call(f *ast.FuncDecl, name string) (call string, named []insertion) {
	if f.Recv != nil {
		receiver, more := s.names(f.Recv, "mutantOf")
		name, named = receiver[0]+"."+name, more
	}
	arguments, more := s.names(f.Type.Params, "mutantArg")
	named = append(named, more...)
	if list := f.Type.Params.List; len(list) > 0 {
		if _, variadic := list[len(list)-1].Type.(*ast.Ellipsis); variadic {
			arguments[len(arguments)-1] += "..."
		}
	}
	call = name + "(" + strings.Join(arguments, ", ") + ")"
	if f.Type.Results != nil {
		return "return " + call, named
	}
	return call + "\n\t\treturn", named
}

// names are those of parameters; who has none gets one.
func (s *goSource) names(fields *ast.FieldList, prefix string) (names []string, named []insertion) {
	for _, field := range fields.List {
		if len(field.Names) == 0 {
			name := fmt.Sprintf("%s%d", prefix, len(names))
			names = append(names, name)
			named = append(named, insertion{at: s.at(field.Type.Pos()), text: name + " "})
		}
		for _, known := range field.Names {
			if known.Name == "_" {
				name := fmt.Sprintf("%s%d", prefix, len(names))
				named = append(named, insertion{at: s.at(known.Pos()), instead: 1, text: name})
				names = append(names, name)
				continue
			}
			names = append(names, known.Name)
		}
	}
	return names, named
}
