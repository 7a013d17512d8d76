package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// writeReference has TestOpenAPIIsCurrent write the files instead of comparing them: make docs.
const writeReference = "RINGCORE_WRITE_REFERENCE"

// TestOpenAPIIsCurrent: openapi.json and docs/http.md say what the routing table and the types say.
func TestOpenAPIIsCurrent(t *testing.T) {
	r := newReference(t)
	spec := &bytes.Buffer{}
	e := json.NewEncoder(spec)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(r.document()); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"openapi.json": spec.String(), filepath.Join("..", "docs", "http.md"): r.page()} {
		if os.Getenv(writeReference) != "" {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(have), "\n"), strings.Split(want, "\n")); diff != "" {
			t.Errorf("%s is not what the routes say (run make docs):\n%s", file, diff)
		}
	}
}

// TestHTTPCodes: the codes that are HTTP's only are those that the source names, and docs/errors.md has them.
func TestHTTPCodes(t *testing.T) {
	source, err := os.ReadFile("guard.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join("..", "docs", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, m := range regexp.MustCompile(`writeProblem\(w, [\w.]+, "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		named = append(named, m[1])
		if !strings.Contains(string(page), "| `"+m[1]+"` | 40") {
			t.Errorf("errors.md lacks %s", m[1])
		}
	}
	if slices.Sort(named); !slices.Equal(named, httpCodes) {
		t.Errorf("the source has %v, openapi.json %v", named, httpCodes)
	}
}

// reference is the table with what the routing table and the source say of it.
type reference struct {
	chapters []chapter
	abouts   map[string]string // by route
	schemas  schemas
}

// newReference compares the table with the routes that a node serves: each that the index page
// lists must be in it, and nothing else.
func newReference(t *testing.T) *reference {
	t.Helper()
	a := &api{metrics: newMetrics(nil), log: slog.New(slog.DiscardHandler)}
	routes := slices.Concat(a.routes(), kvRoutes(http.NotFoundHandler()), pprofRoutes())
	r := &reference{chapters: chapters(), abouts: map[string]string{}}
	var silent []string
	for _, route := range routes {
		path, _, _ := strings.Cut(strings.TrimSuffix(route.path, "{$}"), "?")
		if route.about != "" {
			r.abouts[route.method+" "+path] = route.about
		} else {
			silent = append(silent, path)
		}
	}
	// The console's files, profiles, and where package kv is mounted, whose routes have lines of their own.
	want := []string{"/console/", "/debug/pprof/cmdline", "/debug/pprof/profile", "/debug/pprof/symbol", "/debug/pprof/trace", "/v1/kv/"}
	if slices.Sort(silent); !slices.Equal(silent, want) {
		t.Errorf("routes that are not listed: %v, want %v: give others an about, and an entry in chapters()", silent, want)
	}
	listed := map[string]bool{}
	for _, c := range r.chapters {
		for i := range c.operations {
			listed[c.operations[i].route] = true
		}
	}
	for route := range r.abouts {
		if !listed[route] {
			t.Errorf("chapters() lacks %s", route)
		}
	}
	for route := range listed {
		if r.abouts[route] == "" {
			t.Errorf("chapters() has %s, which is no route", route)
		}
	}
	r.schemas = schemas{named: map[string]*schema{}, comments: readComments(t, ".", filepath.Join("..", "dataplane", "wire"))}
	return r
}

// split parts the routing table's line into what a caller passes and what he gets by it.
func (r *reference) split(route string) (example, about string) {
	about = r.abouts[route]
	if strings.HasPrefix(about, "{") || strings.HasPrefix(about, "?") {
		if before, after, ok := strings.Cut(about, ": "); ok {
			return before, after
		}
	}
	return "", about
}

// document is openapi.json.
func (r *reference) document() jsonObject {
	paths, tags := jsonObject{}, []any{}
	for _, c := range r.chapters {
		tags = append(tags, jsonObject{"name": c.name, "description": c.about})
		for i := range c.operations {
			o := &c.operations[i]
			method, path, _ := strings.Cut(o.route, " ")
			at, ok := paths[path].(jsonObject)
			if !ok {
				at = jsonObject{}
				paths[path] = at
			}
			at[strings.ToLower(method)] = r.operation(c.name, o)
		}
	}
	problem := r.schemas.of(reflect.TypeFor[Problem](), false)
	components := jsonObject{}
	for name, x := range r.schemas.named {
		components[name] = x.document()
	}
	return jsonObject{
		"openapi": "3.1.0",
		"info": jsonObject{
			"title": "Ringcore", "version": "1",
			"description": "The HTTP API of a node; any node answers for the whole cluster. Answers may have further fields in newer versions.",
			"license":     jsonObject{"name": "Apache 2.0", "identifier": "Apache-2.0"},
		},
		"servers": []any{jsonObject{"url": "http://127.0.0.1:7402", "description": "the first node of ringcore dev"}},
		"tags":    tags,
		"paths":   paths,
		"components": jsonObject{
			"schemas": components,
			"responses": jsonObject{"Problem": jsonObject{
				"description": "It was refused, or has failed: the code says how.",
				"content":     jsonObject{"application/problem+json": jsonObject{"schema": problem}},
				"headers":     jsonObject{"Retry-After": jsonObject{"description": "seconds, with overload and shutting_down", "schema": jsonObject{"type": "integer"}}},
			}},
		},
	}
}

// operation is one method of one path in openapi.json.
func (r *reference) operation(tag string, o *operation) jsonObject {
	_, about := r.split(o.route)
	doc := jsonObject{"operationId": o.id(), "summary": about, "tags": []string{tag}, "responses": r.responses(o)}
	if o.about != "" {
		doc["description"] = o.about
	}
	var params []any
	for _, p := range o.allParams() {
		of := jsonObject{"type": "string"}
		if p.of != nil {
			of = r.schemas.of(reflect.TypeOf(p.of), false)
		}
		x := jsonObject{"name": p.name, "in": p.in, "required": p.must, "schema": of}
		if p.about != "" {
			x["description"] = p.about
		}
		params = append(params, x)
	}
	if len(params) > 0 {
		doc["parameters"] = params
	}
	if o.body != nil {
		media := r.media(o.body, true)
		if len(o.needs) > 0 {
			media["schema"] = jsonObject{"allOf": []any{media["schema"], jsonObject{"required": o.needs}}}
		}
		doc["requestBody"] = jsonObject{"required": true, "content": jsonObject{o.body.media: media}}
	}
	return doc
}

func (r *reference) responses(o *operation) jsonObject {
	all := jsonObject{"default": jsonObject{"$ref": "#/components/responses/Problem"}}
	for _, x := range o.replies {
		doc := jsonObject{"description": x.about}
		if x.content != nil {
			doc["content"] = jsonObject{x.content.media: r.media(x.content, false)}
		}
		headers := jsonObject{}
		for _, h := range x.headers {
			headers[h.name] = jsonObject{"description": h.about, "schema": jsonObject{"type": "string"}}
		}
		if len(headers) > 0 {
			doc["headers"] = headers
		}
		all[fmt.Sprint(x.status)] = doc
	}
	return all
}

// media is what a body or an answer holds. OpenAPI 3.1 has no word for the items of a stream:
// 3.2 calls it itemSchema.
func (r *reference) media(c *content, body bool) jsonObject {
	var of []any
	for _, x := range c.types {
		of = append(of, r.schemas.of(reflect.TypeOf(x), body))
	}
	var one any = jsonObject{"oneOf": of}
	switch {
	case len(of) == 0:
		return jsonObject{} // bytes
	case len(of) == 1:
		one = of[0]
	}
	if c.stream {
		return jsonObject{"schema": jsonObject{"type": "string"}, "x-itemSchema": one}
	}
	return jsonObject{"schema": one}
}

// id names the operation for programs that are made from the document: getClusterStatus.
func (o *operation) id() string {
	method, path, _ := strings.Cut(o.route, " ")
	id := strings.ToLower(method)
	for _, word := range strings.FieldsFunc(strings.TrimPrefix(path, "/v1"), func(c rune) bool { return strings.ContainsRune("/{}-.", c) }) {
		id += strings.ToUpper(word[:1]) + word[1:]
	}
	if id == "get" {
		return "getIndex"
	}
	return id
}

// allParams are the operation's parameters with those in the path.
func (o *operation) allParams() []param {
	var all []param
	for rest := o.route; ; {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			return append(all, o.params...)
		}
		var name string
		name, rest, _ = strings.Cut(after, "}")
		all = append(all, param{in: "path", name: name, about: "any bytes, percent-encoded", must: true})
	}
}
