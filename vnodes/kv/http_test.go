package kv

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ringcore/ringcore/admin/problem"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// web is a KV behind a real HTTP server.
type web struct {
	t   *testing.T
	f   *fakeCluster
	url string
}

func newWeb(t *testing.T, n int) *web {
	f := newFake(n)
	mux := http.NewServeMux() // as a node mounts it: its cleaning of paths must not touch keys
	mux.Handle("/v1/kv/", f.kv().HTTPHandler())
	mux.Handle("/v1/", f.kv().HTTPHandler())
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return &web{t: t, f: f, url: s.URL}
}

// do makes a request; path is escaped already.
func (w *web) do(method, path, body string, header ...string) (*http.Response, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(b)
}

// problem makes a request that must fail with status and code.
func (w *web) problem(method, path, body string, status int, code string) map[string]any {
	w.t.Helper()
	resp, text := w.do(method, path, body)
	var doc map[string]any
	if err := json.Unmarshal([]byte(text), &doc); err != nil || resp.Header.Get("Content-Type") != problem.ContentType {
		w.t.Fatalf("%s %s: %d %q is no problem document: %v", method, path, resp.StatusCode, text, err)
	}
	if resp.StatusCode != status || doc["code"] != code || doc["status"] != float64(status) {
		w.t.Fatalf("%s %s: %d %v, want %d %s", method, path, resp.StatusCode, doc, status, code)
	}
	return doc
}

func (w *web) put(path, body string) {
	w.t.Helper()
	if resp, text := w.do(http.MethodPut, path, body); resp.StatusCode != http.StatusNoContent || text != "" {
		w.t.Fatalf("PUT %s: %d %q", path, resp.StatusCode, text)
	}
}

func (w *web) want(method, path, value string) *http.Response {
	w.t.Helper()
	resp, text := w.do(method, path, "")
	if resp.StatusCode != http.StatusOK || text != value {
		w.t.Fatalf("%s %s: %d %q, want %q", method, path, resp.StatusCode, text, value)
	}
	return resp
}

func TestHTTPValues(t *testing.T) {
	w := newWeb(t, 3)
	w.problem("GET", "/v1/kv/b/a", "", 404, "not_found")
	w.put("/v1/kv/b/a?w=quorum&pw=one&timeout=2s", "one")
	resp := w.want("GET", "/v1/kv/b/a?r=2&timeout=500", "one")
	token := resp.Header.Get(ContextHeader)
	if b, err := base64.RawURLEncoding.DecodeString(token); err != nil || len(b) != wire.StampSize {
		t.Fatalf("context %q: %v", token, err)
	}
	if resp, text := w.do("PUT", "/v1/kv/b/a", "two", ContextHeader, token); resp.StatusCode != 204 {
		t.Fatalf("PUT with its context: %d %s", resp.StatusCode, text)
	}
	if resp, _ := w.do("PUT", "/v1/kv/b/a", "x", ContextHeader, "!"); resp.StatusCode != 400 {
		t.Fatalf("PUT with a broken context: %d", resp.StatusCode)
	}
	if resp, text := w.do("HEAD", "/v1/kv/b/a", ""); resp.StatusCode != 200 || text != "" || resp.ContentLength != 3 {
		t.Fatalf("HEAD: %d, length %d", resp.StatusCode, resp.ContentLength)
	}
	w.want("DELETE", "/v1/kv/b/a", "two")
	w.problem("DELETE", "/v1/kv/b/a", "", 404, "not_found")
}

// A value goes away when its PUT has said.
func TestHTTPExpires(t *testing.T) {
	w := newWeb(t, 1)
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	if res, _ := w.do("PUT", "/v1/kv/b/k?expires="+at.Format(time.RFC3339), "v"); res.StatusCode != http.StatusNoContent {
		t.Fatalf("PUT: %s", res.Status)
	}
	if res, _ := w.do("GET", "/v1/kv/b/k", ""); res.Header.Get("Expires") != at.Format(http.TimeFormat) {
		t.Errorf("it expires at %q", res.Header.Get("Expires"))
	}
	w.problem("PUT", "/v1/kv/b/k?expires=tomorrow", "v", 400, "bad_request")
}

// Any bytes may stand in a bucket or key.
func TestHTTPKeysOfAnyBytes(t *testing.T) {
	w := newWeb(t, 1)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, key := range []string{"a/b", "/", "//", "..", ".", "a b", "a+b", "ключ", "%41", "?x=1#y", "a//b/../c", "\x00\xff", string(all)} {
		path := "/v1/kv/" + escape("odd/bucket\xfe") + "/" + escape(key)
		w.put(path, "value of "+key)
		w.want("GET", path, "value of "+key)
		obj, err := w.f.kv().Get(t.Context(), "odd/bucket\xfe", []byte(key), Options{})
		if err != nil || string(obj.Value) != "value of "+key {
			t.Errorf("key %q arrived as another: %v", key, err)
		}
	}
}

// escape writes s as one segment, with dots escaped too so that no client cleans them away.
func escape(s string) string { return strings.ReplaceAll(url.PathEscape(s), ".", "%2E") }

func TestHTTPRefusals(t *testing.T) {
	w := newWeb(t, 1)
	for _, path := range []string{
		"/v1/kv/b/a?r=many", "/v1/kv/b/a?w=0", "/v1/kv/b/a?timeout=never", "/v1/kv/b/a?sloppy=maybe",
		"/v1/kv/b", "/v1/kv/b?list=cats", "/v1/kv/b/a/c", "/v1/elsewhere",
	} {
		w.problem("GET", path, "", 400, "bad_request")
	}
	w.problem("POST", "/v1/kv/b/a", "x", 400, "bad_request")
	w.problem("PUT", "/v1/kv/"+strings.Repeat("b", codec.MaxBucket+1)+"/a", "x", 413, "too_large")
	w.problem("PUT", "/v1/kv/b/big", strings.Repeat("x", codec.MaxValue+1), 413, "too_large")

	// The same without a length in front.
	req, err := http.NewRequestWithContext(t.Context(), "PUT", w.url+"/v1/kv/b/big", io.LimitReader(zeros{}, codec.MaxValue+1))
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	w.f.kv().HTTPHandler().ServeHTTP(rec, req)
	if rec.Code != 413 {
		t.Fatalf("chunked body over the limit: %d %s", rec.Code, rec.Body)
	}
	w.put("/v1/kv/b/big", strings.Repeat("x", codec.MaxValue))
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestHTTPErrorsKeepTheirCode(t *testing.T) {
	w := newWeb(t, 3)
	for code, status := range map[wire.Code]int{
		wire.Unavailable: 503, wire.QuorumNotMet: 503, wire.Overload: 503, wire.Maybe: 503, wire.Deadline: 504, wire.Corrupt: 500, wire.DiskFull: 507,
	} {
		w.f.refuse = func(wire.Op, *wire.Call) error { return wire.Errorf(code, "reached 1 of 2") }
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			doc := w.problem(method, "/v1/kv/b/a", "", status, code.String())
			if !strings.Contains(doc["detail"].(string), "reached 1 of 2") {
				t.Errorf("detail %v", doc["detail"])
			}
		}
	}
	w.f.refuse = func(wire.Op, *wire.Call) error { return wire.Errorf(wire.Overload, "full") }
	if resp, _ := w.do("GET", "/v1/kv/b/a", ""); resp.Header.Get("Retry-After") == "" {
		t.Error("an overload comes without Retry-After")
	}
}

type line struct {
	Partition *int             `json:"partition"`
	Node      string           `json:"node"`
	Key       *string          `json:"key"`
	Value     *string          `json:"value"`
	Encoding  string           `json:"encoding"`
	Complete  *bool            `json:"complete"`
	Missing   []int            `json:"missing"`
	Error     *json.RawMessage `json:"error"`
}

// lines fetches a listing: its items and its last line.
func (w *web) lines(path string) (items []line, last line) {
	w.t.Helper()
	resp, text := w.do("GET", path, "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != NDJSON {
		w.t.Fatalf("GET %s: %d %s", path, resp.StatusCode, text)
	}
	for l := range strings.Lines(text) {
		var x line
		if err := json.Unmarshal([]byte(l), &x); err != nil {
			w.t.Fatalf("line %q: %v", l, err)
		}
		items = append(items, x)
	}
	last = items[len(items)-1]
	if last.Complete == nil || last.Missing == nil {
		w.t.Fatalf("the last line is %+v", last)
	}
	return items[:len(items)-1], last
}

func TestHTTPLists(t *testing.T) {
	w := newWeb(t, 1)
	if items, last := w.lines("/v1/kv/b?list=keys"); len(items) != 0 || !*last.Complete {
		t.Fatalf("an empty bucket: %d items, complete %v", len(items), *last.Complete)
	}
	for i := range 40 {
		w.put(fmt.Sprintf("/v1/kv/b/k%d", i), fmt.Sprintf("v%d", i))
	}
	w.put("/v1/kv/b/%ff", "\xfe")
	items, last := w.lines("/v1/kv/b?list=keys")
	if len(items) != 41 || !*last.Complete || len(last.Missing) != 0 {
		t.Fatalf("%d items, last line %+v", len(items), last)
	}
	odd := 0
	for _, it := range items {
		if it.Partition == nil || it.Node != "n1" || it.Key == nil || it.Value != nil {
			t.Fatalf("item %+v", it)
		}
		if it.Encoding == "base64" && *it.Key == "/w==" {
			odd++
		}
	}
	if odd != 1 {
		t.Fatalf("the key that is no text came %d times", odd)
	}
	items, _ = w.lines("/v1/kv/b?list=values")
	if len(items) != 41 || items[0].Value == nil || items[0].Key != nil {
		t.Fatalf("%d values, first %+v", len(items), items[0])
	}

	w.f.down[2] = true
	if items, last = w.lines("/v1/kv/b?list=keys"); *last.Complete || len(last.Missing) != 1 || last.Missing[0] != 2 || len(items) == 41 {
		t.Fatalf("with a partition down: %d items, %+v", len(items), last)
	}
}

func TestHTTPClear(t *testing.T) {
	w := newWeb(t, 3)
	for i := range 40 {
		w.put(fmt.Sprintf("/v1/kv/b/k%d", i), "v")
	}
	w.f.down[2] = true
	doc := w.problem("DELETE", "/v1/kv/b", "", 503, "unavailable")
	if doc["complete"] != false || fmt.Sprint(doc["missing"]) != "[2]" {
		t.Fatalf("document %v", doc)
	}
	delete(w.f.down, 2)
	resp, text := w.do("DELETE", "/v1/kv/b", "")
	var done struct {
		Complete bool
		Deleted  int
		Missing  []int
	}
	if err := json.Unmarshal([]byte(text), &done); err != nil || resp.StatusCode != 200 || !done.Complete || done.Missing == nil || done.Deleted == 0 {
		t.Fatalf("DELETE: %d %s (%v)", resp.StatusCode, text, err)
	}
	if items, _ := w.lines("/v1/kv/b?list=keys"); len(items) != 0 {
		t.Fatalf("%d keys are left", len(items))
	}
}

func TestHTTPPing(t *testing.T) {
	w := newWeb(t, 1)
	for _, path := range []string{"/v1/ping", "/v1/ping?key=a"} {
		resp, text := w.do("GET", path, "")
		var pong struct {
			Partition *int
			Index     string
			Node      string
		}
		if err := json.Unmarshal([]byte(text), &pong); err != nil || resp.StatusCode != 200 || pong.Partition == nil || pong.Index == "" || pong.Node != "n1" {
			t.Fatalf("GET %s: %d %s (%v)", path, resp.StatusCode, text, err)
		}
	}
}
