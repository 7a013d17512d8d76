package admin

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// httpPage is how docs/http.md begins.
const httpPage = `# HTTP

Generated from the routes and their types by ` + "`make docs`" + `; each node serves the same as OpenAPI 3.1 at ` + "`/v1/openapi.json`" + `, for programs that make clients. A test calls every route of a live node
and compares what comes with it.

- **Any node** answers for the whole cluster, at its HTTP address (7402 by default), unless the text says *this node*.
- **JSON** in and out, in snake_case; what identifies something is a string; times are RFC 3339. A request with a field that is not known is refused. Answers get further fields in newer versions: skip what you do not know.
- **Errors** are ` + "`application/problem+json`" + ` with a stable ` + "`code`" + `, all of which are in [errors.md](errors.md). Every route can answer with one; only other answers are listed here.
- **Limits**: a JSON body has up to 64 KiB, all bodies under way together 256 MiB; a body must arrive within a minute; 64 event streams, 2,048 connections.
- **Traces**: a request with the header ` + "`traceparent`" + ` (W3C) is a part of that trace, on all nodes; see [operations.md](operations.md).
- **Browsers**: writes from a page of another site are refused (` + "`cross_origin`" + `), and on loopback so are requests for another host's name (` + "`host`" + `).
`

// page is docs/http.md. document must have been made before: it finds the objects.
func (r *reference) page() string {
	b := &strings.Builder{}
	b.WriteString(httpPage)
	for _, c := range r.chapters {
		fmt.Fprintf(b, "\n## %s\n\n%s\n", c.name, c.about)
		for i := range c.operations {
			r.writeOperation(b, &c.operations[i])
		}
	}
	b.WriteString("\n## Objects\n\nA field that may be left out is marked *optional*.\n")
	for _, name := range slices.Sorted(maps.Keys(r.schemas.named)) {
		x := r.schemas.named[name]
		fmt.Fprintf(b, "\n### %s\n\n%s\n", name, x.about)
		if x.plain != nil {
			fmt.Fprintf(b, "\n%s\n", capital(typeName(x.plain)))
			continue
		}
		b.WriteString("\n| field | type | |\n|---|---|---|\n")
		for _, f := range x.fields {
			about := f.about
			if f.optional && !x.body {
				about = strings.TrimSuffix("*optional*; "+about, "; ")
			}
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.name, typeName(f.of), tableCell(about))
		}
	}
	return b.String()
}

func (r *reference) writeOperation(b *strings.Builder, o *operation) {
	example, about := r.split(o.route)
	fmt.Fprintf(b, "\n### %s\n\n%s\n", o.route, capital(strings.TrimSuffix(about, ".")+"."))
	if o.about != "" {
		fmt.Fprintf(b, "%s\n", o.about)
	}
	if strings.HasPrefix(example, "{") {
		fmt.Fprintf(b, "For example `%s`.\n", example)
	}
	b.WriteString("\n| | | |\n|---|---|---|\n")
	for _, p := range o.params {
		of, must := "text", ""
		if p.of != nil {
			of = typeName(r.schemas.of(reflect.TypeOf(p.of), false))
		}
		if p.must {
			must = "needed; "
		}
		fmt.Fprintf(b, "| %s `%s` | %s | %s |\n", p.in, p.name, of, tableCell(strings.TrimSuffix(must+p.about, "; ")))
	}
	if o.body != nil {
		needs := ""
		if len(o.needs) > 0 {
			needs = "needed: `" + strings.Join(o.needs, "`, `") + "`"
		}
		fmt.Fprintf(b, "| body | %s | %s |\n", r.contentName(o.body, true), needs)
	}
	for _, x := range o.replies {
		fmt.Fprintf(b, "| answer %d | %s | %s |\n", x.status, r.contentName(x.content, false), tableCell(x.about))
		for _, h := range x.headers {
			fmt.Fprintf(b, "| header `%s` | text | %s |\n", h.name, tableCell(h.about))
		}
	}
}

// contentName is a body in a word: its type, or its media type.
func (r *reference) contentName(c *content, body bool) string {
	if c == nil {
		return "nothing"
	}
	var names []string
	for _, x := range c.types {
		names = append(names, typeName(r.schemas.of(reflect.TypeOf(x), body)))
	}
	switch {
	case len(names) == 0:
		return "`" + c.media + "`"
	case c.stream:
		return "`" + c.media + "` of " + strings.Join(names, ", ")
	}
	return strings.Join(names, " or ")
}

// typeName is a schema in a word.
func typeName(of jsonObject) string {
	if ref, ok := of["$ref"].(string); ok {
		name := ref[strings.LastIndex(ref, "/")+1:]
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	}
	if list, ok := of["oneOf"].([]any); ok {
		var names []string
		for _, x := range list {
			names = append(names, typeName(x.(jsonObject)))
		}
		return strings.Join(names, " or ")
	}
	if values, ok := of["enum"].([]any); ok {
		var names []string
		for _, v := range values {
			names = append(names, fmt.Sprintf("`%v`", v))
		}
		return strings.Join(names, ", ")
	}
	switch kind := of["type"].(type) {
	case []string:
		return strings.Join(kind, " or ")
	case string:
		switch kind {
		case "array":
			return "list of " + typeName(of["items"].(jsonObject))
		case "object":
			return "object of " + typeName(of["additionalProperties"].(jsonObject))
		case "string":
			return textName(of)
		}
		return kind
	}
	return fmt.Sprint(of)
}

func textName(of jsonObject) string {
	switch {
	case of["format"] != nil:
		return "time"
	case of["contentEncoding"] != nil:
		return "base64"
	}
	return "text"
}

// tableCell keeps text from ending its cell.
func tableCell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
