package wire

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// named is a constant of this package, with the comment beside it.
type named struct {
	name, kind, about string
	value             uint64
}

// source is what this package's files declare: constants, and the types whose comments draw how
// they are laid out.
type source struct {
	constants []named
	formats   []string
}

func readSource(t *testing.T) *source {
	t.Helper()
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Defs: make(map[*ast.Ident]types.Object)}
	conf := types.Config{Error: func(error) {}} // what is imported is not looked at, and constants need none of it
	_, _ = conf.Check("wire", fset, files, info)
	s := &source{}
	for _, f := range files {
		for _, d := range f.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					s.constant(info, spec)
				case *ast.TypeSpec:
					s.format(decl, spec)
				}
			}
		}
	}
	slices.SortFunc(s.formats, func(a, b string) int { // the header first
		return cmp.Or(-cmp.Compare(strings.Count(a, "**Header**"), strings.Count(b, "**Header**")), cmp.Compare(a, b))
	})
	slices.SortStableFunc(s.constants, func(a, b named) int { return cmp.Compare(a.value, b.value) })
	return s
}

func (s *source) constant(info *types.Info, spec *ast.ValueSpec) {
	for _, id := range spec.Names {
		c, ok := info.Defs[id].(*types.Const)
		if !ok || !id.IsExported() {
			continue
		}
		value, exact := constant.Uint64Val(constant.ToInt(c.Val()))
		if !exact {
			continue
		}
		n := named{name: id.Name, kind: types.TypeString(c.Type(), func(*types.Package) string { return "" }), value: value}
		n.about = strings.TrimSpace(spec.Comment.Text())
		if n.about == "" {
			n.about = strings.Join(strings.Fields(spec.Doc.Text()), " ")
		}
		s.constants = append(s.constants, n)
	}
}

// format keeps a struct whose comment has a drawing: lines that begin with a tab.
func (s *source) format(decl *ast.GenDecl, spec *ast.TypeSpec) {
	if _, ok := spec.Type.(*ast.StructType); !ok {
		return
	}
	doc := cmp.Or(spec.Doc, decl.Doc).Text()
	about, _, _ := strings.Cut(doc, "\n\n")
	var drawing []string
	for line := range strings.Lines(doc) {
		if rest, ok := strings.CutPrefix(line, "\t"); ok {
			drawing = append(drawing, " "+strings.TrimRight(rest, "\n"))
		}
	}
	if len(drawing) > 0 {
		about = strings.Replace(strings.Join(strings.Fields(about), " "), spec.Name.Name, "**"+spec.Name.Name+"**", 1)
		s.formats = append(s.formats, fmt.Sprintf("\n%s\n\n```\n%s\n```\n", about, strings.Join(drawing, "\n")))
	}
}

// table has a row for each constant of a type whose name begins with prefix.
func (s *source) table(kind, prefix string, value func(named) string) string {
	text := "\n| | | |\n|---|---|---|\n"
	n := 0
	for _, c := range s.constants {
		if c.kind == kind && strings.HasPrefix(c.name, prefix) {
			text += fmt.Sprintf("| %s | `%s` | %s |\n", value(c), c.name, strings.ReplaceAll(c.about, "|", `\|`))
			n++
		}
	}
	if n < 3 {
		return "" // and the test fails
	}
	return text + "\n"
}

// docs/wire.md has all operations, kinds, flags, codes and formats, as the source has them.
func TestWirePage(t *testing.T) {
	s := readSource(t)
	number := func(c named) string { return fmt.Sprint(c.value) }
	bit := func(c named) string { return fmt.Sprintf("0x%02x", c.value) }
	sections := map[string]string{
		"conns":     s.table("byte", "Conn", func(c named) string { return fmt.Sprintf("`%c`", rune(c.value)) }),
		"formats":   strings.Join(s.formats, "") + "\n",
		"kinds":     s.table("Kind", "Kind", number),
		"flags":     s.table("Flags", "Flag", bit),
		"callflags": s.table("CallFlags", "Call", bit),
		"ops":       s.table("Op", "Op", number),
		"codes":     s.table("Code", "", func(c named) string { return fmt.Sprintf("%d | `%s`", c.value, Code(c.value)) }),
	}
	// A code has its name on the wire beside that in Go.
	sections["codes"] = strings.Replace(sections["codes"], "| | | |\n|---|---|---|\n", "| | | | |\n|---|---|---|---|\n", 1)
	file := filepath.Join("..", "..", "docs", "wire.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := string(b)
	for name, text := range sections {
		part := regexp.MustCompile(`(?s)<!-- ` + name + ` -->\n.*?<!-- end -->`)
		if len(text) < 10 || len(part.FindAllString(want, -1)) != 1 {
			t.Fatalf("%s: the page needs one such place, and the source something for it", name)
		}
		want = part.ReplaceAllLiteralString(want, "<!-- "+name+" -->\n"+text+"<!-- end -->")
	}
	write := os.Getenv("RINGCORE_WRITE_REFERENCE") != ""
	if write {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := gocmp.Diff(strings.Split(want, "\n"), strings.Split(string(b), "\n")); diff != "" && !write {
		t.Errorf("docs/wire.md is not what the source says (-want +have); run make docs:\n%s", diff)
	}
	for _, fact := range []string{fmt.Sprintf("%d bytes of header", HeaderSize), fmt.Sprintf("at most %d MiB", MaxBody>>20), fmt.Sprintf(`"versions":[%d,%d]`, Version, Version)} {
		if !strings.Contains(want, fact) {
			t.Errorf("docs/wire.md does not say %q", fact)
		}
	}
}
