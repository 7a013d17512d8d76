package admin

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// jsonObject is a JSON object of the document. encoding/json writes its keys in order.
type jsonObject = map[string]any

// schemas are the document's named types, made of Go types as they are met.
type schemas struct {
	named    map[string]*schema
	comments map[string]string // of types by name, of fields by type and field: "RingView.Owners"
}

// schema is a Go struct as JSON has it.
type schema struct {
	name, about string
	fields      []field
	body        bool       // of a request: fields may be left out, others are refused
	plain       jsonObject // of a type that is no struct
}

type field struct {
	name, about string
	optional    bool
	of          jsonObject
}

// problemCodes are the codes that a problem document can have.
func problemCodes() []string {
	var codes []string
	for c := wire.Code(1); !strings.HasPrefix(c.String(), "code_"); c++ {
		codes = append(codes, c.String())
	}
	return append(codes, httpCodes...)
}

// httpCodes are the codes of those errors that are HTTP's business only; see docs/errors.md.
var httpCodes = []string{"cross_origin", "host", "method_not_allowed"}

// of is the schema of a type; structs are named and referred to.
func (s *schemas) of(t reflect.Type, body bool) jsonObject {
	switch t {
	case reflect.TypeFor[time.Time]():
		return jsonObject{"type": "string", "format": "date-time"}
	case reflect.TypeFor[wire.Quorum]():
		return s.plain(t, jsonObject{"oneOf": []any{
			jsonObject{"type": "integer", "minimum": 1, "maximum": int(wire.MaxQuorum)}, jsonObject{"enum": []any{"one", "quorum", "all", "default"}},
		}})
	case reflect.TypeFor[wire.Switch]():
		return s.plain(t, jsonObject{"enum": []any{true, false, "default"}})
	case reflect.TypeFor[[]byte]():
		return jsonObject{"type": "string", "contentEncoding": "base64"}
	case reflect.TypeFor[problemCode]():
		return jsonObject{"type": "string", "examples": problemCodes()}
	}
	switch t.Kind() {
	case reflect.Pointer:
		of := s.of(t.Elem(), body)
		if kind, ok := of["type"].(string); ok {
			of["type"] = []string{kind, "null"}
			return of
		}
		return jsonObject{"oneOf": []any{of, jsonObject{"type": "null"}}}
	case reflect.Slice:
		return jsonObject{"type": "array", "items": s.of(t.Elem(), body)}
	case reflect.Map:
		return jsonObject{"type": "object", "additionalProperties": s.of(t.Elem(), body)}
	case reflect.Struct:
		return jsonObject{"$ref": "#/components/schemas/" + s.name(t, body)}
	case reflect.Bool:
		return jsonObject{"type": "boolean"}
	case reflect.String:
		return jsonObject{"type": "string"}
	case reflect.Float64:
		return jsonObject{"type": "number"}
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint16:
		return jsonObject{"type": "integer"}
	case reflect.Uint64:
		return jsonObject{"type": "integer", "minimum": 0}
	}
	panic(fmt.Sprintf("the table has a %v, which has no schema", t))
}

// plain notes a type that is no struct among the named schemas.
func (s *schemas) plain(t reflect.Type, of jsonObject) jsonObject {
	s.named[t.Name()] = &schema{name: t.Name(), about: s.comments[t.Name()], plain: of}
	return jsonObject{"$ref": "#/components/schemas/" + t.Name()}
}

// name notes a struct among the named schemas.
func (s *schemas) name(t reflect.Type, body bool) string {
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	if have := s.named[name]; have != nil {
		if have.body != body {
			panic(name + " is of a request and of an answer: their rules differ")
		}
		return name
	}
	x := &schema{name: name, about: s.comments[t.Name()], body: body}
	s.named[name] = x
	s.fields(x, t)
	return name
}

// fields notes the fields of t in x, and those of structs embedded in it.
func (s *schemas) fields(x *schema, t reflect.Type) {
	for f := range t.Fields() {
		if f.Anonymous {
			s.fields(x, f.Type)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name == "" {
			panic(fmt.Sprintf("%v.%s has no name in JSON", t, f.Name))
		}
		of := f.Type
		omitted := strings.Contains(options, "omit")
		if omitted && of.Kind() == reflect.Pointer {
			of = of.Elem() // left out, never null
		}
		x.fields = append(x.fields, field{name, s.comments[t.Name()+"."+f.Name], omitted || x.body, s.of(of, x.body)})
	}
}

// document is x as OpenAPI has it. An answer may get further fields in newer versions, so it is
// left open; a request may not have others.
func (x *schema) document() jsonObject {
	if x.plain != nil {
		return describe(x.plain, x.about)
	}
	doc := jsonObject{"type": "object", "description": x.about}
	properties, required := jsonObject{}, []string{}
	for _, f := range x.fields {
		properties[f.name] = describe(f.of, f.about)
		if !f.optional {
			required = append(required, f.name)
		}
	}
	doc["properties"] = properties
	if len(required) > 0 {
		doc["required"] = required
	}
	if x.body {
		doc["additionalProperties"] = false
	}
	return doc
}

// describe is of with a description.
func describe(of jsonObject, about string) jsonObject {
	if about == "" {
		return of
	}
	with := maps.Clone(of)
	with["description"] = about
	return with
}

// readComments reads what the source says of types and their fields.
func readComments(t *testing.T, folders ...string) map[string]string {
	t.Helper()
	said := map[string]string{}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no source in %s: %v", folder, err)
		}
		for _, file := range files {
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				decl, ok := n.(*ast.GenDecl)
				if !ok {
					return true
				}
				for _, spec := range decl.Specs {
					noteType(said, decl, spec)
				}
				return false
			})
		}
	}
	return said
}

// noteType notes the comments of one type and its fields.
func noteType(said map[string]string, decl *ast.GenDecl, spec ast.Spec) {
	of, ok := spec.(*ast.TypeSpec)
	if !ok {
		return
	}
	said[of.Name.Name] = oneLine(of.Doc, decl.Doc)
	if shape, ok := of.Type.(*ast.StructType); ok {
		for _, f := range shape.Fields.List {
			for _, name := range f.Names {
				said[of.Name.Name+"."+name.Name] = oneLine(f.Doc, f.Comment)
			}
		}
	}
}

// oneLine is the first comment that there is.
func oneLine(comments ...*ast.CommentGroup) string {
	for _, c := range comments {
		if c != nil {
			return strings.Join(strings.Fields(c.Text()), " ")
		}
	}
	return ""
}
