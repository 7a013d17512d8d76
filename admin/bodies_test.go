package admin_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/admin/problem"
)

// onlyReader hides a body's length, so that it is sent in chunks.
type onlyReader struct{ io.Reader }

// Bodies that are in memory together are bounded; the one too many hears so at once, and
// there is room again when the others are answered.
func TestBodiesAreBounded(t *testing.T) {
	const length, limit = 1 << 20, 5 << 19 // room for two and a half
	read, answer := make(chan int), make(chan struct{})
	kv := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			problem.Write(w, r, err)
			return
		}
		read <- len(b)
		<-answer
	})
	srv := httptest.NewServer(admin.Handler(&fakeNode{}, kv, admin.Options{MaxBodies: limit}))
	defer srv.Close()
	put := func(body io.Reader) (*http.Response, string) {
		req, err := http.NewRequest("PUT", srv.URL+"/v1/kv/b/k", body)
		if err != nil {
			t.Error(err)
			return nil, ""
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return nil, ""
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp, string(b)
	}
	value := make([]byte, length)
	done := make(chan int, 2)
	for range 2 {
		go func() {
			resp, _ := put(bytes.NewReader(value))
			done <- resp.StatusCode
		}()
		if n := <-read; n != length {
			t.Fatalf("%d bytes", n)
		}
	}
	for _, body := range []io.Reader{bytes.NewReader(value), onlyReader{bytes.NewReader(value)}} {
		resp, text := put(body)
		if resp.StatusCode != 503 || !strings.Contains(text, `"overload"`) || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
	}
	if resp, text := do(t, "PUT", srv.URL+"/v1/buckets/b", `{"siblings":true}`), ""; resp.status != 200 {
		t.Errorf("a small one: %d %s", resp.status, text)
	}
	close(answer)
	for range 2 {
		if status := <-done; status != 200 {
			t.Error(status)
		}
	}
	go func() { <-read; <-read }()
	for range 2 {
		if resp, text := put(onlyReader{bytes.NewReader(value)}); resp.StatusCode != 200 {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
	}
}
