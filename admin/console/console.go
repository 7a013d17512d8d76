package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// Prefix is the path under which the console's files are served.
const Prefix = "/console/"

//go:embed static
var static embed.FS

// policy lets a page load and call nothing but its own node, makes no HTML of strings,
// and lets itself be shown in no frame.
const policy = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// types are those of the files that there are; the system's table may say otherwise.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// file is one file, ready to be sent.
type file struct {
	body []byte
	kind string
	tag  string // ETag
}

// Console serves the console's files. It does not change.
type Console struct {
	files map[string]file // by their path under static
}

// New reads the files that are built in.
func New() *Console {
	c := &Console{files: make(map[string]file)}
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := static.ReadFile(name)
		sum := sha256.Sum256(body)
		kind := types[path.Ext(name)]
		if kind == "" {
			kind = mime.TypeByExtension(path.Ext(name))
		}
		c.files[strings.TrimPrefix(name, "static/")] = file{body, kind, `"` + hex.EncodeToString(sum[:12]) + `"`}
		return err
	})
	if err != nil {
		panic("console: the files that are built in cannot be read: " + err.Error())
	}
	return c
}

// Names are the paths of the files, under Prefix.
func (c *Console) Names() []string {
	var names []string
	for name := range c.files {
		names = append(names, name)
	}
	return names
}

// WantsPage reports whether r comes from a browser that is to show the answer.
func WantsPage(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// ServePage answers with the console.
func (c *Console) ServePage(w http.ResponseWriter, r *http.Request) { c.serve(w, r, "index.html") }

// Serve answers for the file that r's path names; false, without an answer, if there is none.
func (c *Console) Serve(w http.ResponseWriter, r *http.Request) bool {
	name := strings.TrimPrefix(r.URL.Path, Prefix)
	if _, ok := c.files[name]; !ok {
		return false
	}
	c.serve(w, r, name)
	return true
}

func (c *Console) serve(w http.ResponseWriter, r *http.Request, name string) {
	f := c.files[name]
	protect(w.Header())
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("ETag", f.tag)
	h.Set("Cache-Control", "no-cache") // ask each time: another version of the node has other files
	if matches(r.Header.Get("If-None-Match"), f.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(f.body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(f.body) // the caller has gone: nothing to do about it
	}
}

// matches reports whether tag is one of those of an If-None-Match.
func matches(header, tag string) bool {
	for have := range strings.SplitSeq(header, ",") {
		if have = strings.TrimSpace(have); strings.TrimPrefix(have, "W/") == tag || have == "*" {
			return true
		}
	}
	return false
}

func protect(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
}

var missing = template.Must(template.New("missing").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not here · Ringcore</title>
<link rel="stylesheet" href="/console/style.css">
<main class="missing">
<h1>There is no page here</h1>
<p>This node has nothing at <code>{{.}}</code>.</p>
<p><a href="/">Open the console</a>, or ask <code>curl http://{{"{"}}this node{{"}"}}/</code> for a list of the API's paths.</p>
</main>
`))

// ServeMissing tells somebody at a browser that there is nothing at r's path.
func (c *Console) ServeMissing(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	w.Header().Set("Content-Type", types[".html"])
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNotFound)
	if r.Method != http.MethodHead {
		_ = missing.Execute(w, r.URL.Path) // the caller has gone: nothing to do about it
	}
}
