package console_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/admin/console"
)

func get(t *testing.T, c *console.Console, method, url string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	if !c.Serve(w, r) {
		w.WriteHeader(http.StatusNotFound)
	}
	return w
}

// TestFiles: every file is served, as what it is, under the policy, once for each version.
func TestFiles(t *testing.T) {
	c := console.New()
	var onDisk []string
	err := filepath.WalkDir("static", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			onDisk = append(onDisk, strings.TrimPrefix(filepath.ToSlash(name), "static/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if names := c.Names(); len(names) != len(onDisk) {
		t.Errorf("built in are %v; there are %v", names, onDisk)
	}
	types := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".svg": "image/svg+xml"}
	for _, name := range onDisk {
		url := console.Prefix + name
		want, err := os.ReadFile(filepath.Join("static", name))
		if err != nil {
			t.Fatal(err)
		}
		got := get(t, c, "GET", url)
		if got.Code != 200 || got.Body.String() != string(want) || got.Header().Get("Content-Type") != types[path.Ext(name)] {
			t.Errorf("%s: %d %s, %d bytes of %d", name, got.Code, got.Header().Get("Content-Type"), got.Body.Len(), len(want))
		}
		if p := got.Header().Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'self'") || strings.Contains(p, "unsafe") {
			t.Errorf("%s: policy %q", name, p)
		}
		if head := get(t, c, "HEAD", url); head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("Content-Length") != got.Header().Get("Content-Length") {
			t.Errorf("HEAD %s: %d, %d bytes", name, head.Code, head.Body.Len())
		}
		tag := got.Header().Get("ETag")
		if again := get(t, c, "GET", url, "If-None-Match", `"other", W/`+tag); again.Code != 304 || again.Body.Len() != 0 {
			t.Errorf("%s again: %d, %d bytes", name, again.Code, again.Body.Len())
		}
	}
}

func TestNoOtherFiles(t *testing.T) {
	for _, url := range []string{
		"/console/", "/console/static/app.js", "/console/nothing.js", "/console/..%2fconsole.go", "/console/pages", "/console/pages/", "/console//app.js", "/console/app.js/",
	} {
		if got := get(t, console.New(), "GET", url); got.Code != 404 {
			t.Errorf("%s: %d", url, got.Code)
		}
	}
}

// imports are the modules and files that a text names.
var (
	imports = regexp.MustCompile(`(?m)^import .* from "([^"]+)";|(?:src|href)="(/console/[^"]+)"`)
	strange = regexp.MustCompile(`\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|javascript:[^.]|https?://[a-z])`)
)

// TestModules: what is imported is there, everything is used, nothing comes from elsewhere,
// and nothing makes markup of strings.
func TestModules(t *testing.T) {
	c := console.New()
	used := map[string]bool{"index.html": true}
	for _, name := range c.Names() {
		text := get(t, c, "GET", console.Prefix+name).Body.String()
		for _, m := range imports.FindAllStringSubmatch(text, -1) {
			to := strings.TrimPrefix(m[2], console.Prefix)
			if m[1] != "" {
				to = path.Join(path.Dir(name), m[1])
			}
			if used[to] = true; !slices.Contains(c.Names(), to) {
				t.Errorf("%s needs %s, which is not there", name, to)
			}
		}
		if bad := strange.FindString(strings.ReplaceAll(text, "http://www.w3.org/", "")); bad != "" {
			t.Errorf("%s has %q", name, bad)
		}
		if n := strings.Count(text, "\n"); n > 400 {
			t.Errorf("%s has %d lines", name, n)
		}
	}
	for _, name := range c.Names() {
		if !used[name] {
			t.Errorf("nothing needs %s", name)
		}
	}
}

func TestMissingPageEscapes(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/x", nil)
	r.URL.Path = `/<script>alert(1)</script>`
	console.New().ServeMissing(w, r)
	if w.Code != 404 || strings.Contains(w.Body.String(), "<script>") || !strings.Contains(w.Body.String(), "&lt;script&gt;") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
