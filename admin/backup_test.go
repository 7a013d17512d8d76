package admin_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// blocks reads an answer: the keys, the other blocks' kinds, and how it ended.
func blocks(body io.Reader) (keys, others string, err error) {
	r := wire.NewBlockReader(body)
	for {
		it, err := r.Item(func(kind wire.BlockKind, _ []byte) error { others += string(kind); return nil })
		if err != nil {
			return keys, others, err
		}
		keys += string(it.Key)
	}
}

// What is streamed ends with its end, or with why there is none.
func TestBackupStream(t *testing.T) {
	srv := httptest.NewServer(admin.Handler(&fakeNode{}, nil, admin.Options{}))
	defer srv.Close()
	post := func(path, body string) *http.Response {
		t.Helper()
		res, err := http.Post(srv.URL+path, admin.RecordBlocks, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
	if keys, others, err := blocks(post("/v1/backup/kv/3", "").Body); keys != "abc" || others != "L" || err != io.EOF {
		t.Errorf("got %q, %q, %v", keys, others, err)
	}
	if keys, others, err := blocks(post("/v1/backup/kv/3", "break").Body); keys != "ab" || others != "LX" || !errors.Is(err, wire.ErrBlocks) {
		t.Errorf("broken off: got %q, %q, %v", keys, others, err)
	}
	for path, status := range map[string]int{"/v1/backup/kv/9": 404, "/v1/backup/kv/x": 400, "/v1/restore/kv/1": 400} {
		if res := post(path, ""); res.StatusCode != status {
			t.Errorf("%s: status %d, want %d", path, res.StatusCode, status)
		}
	}
	var row bytes.Buffer
	w := wire.NewBlockWriter(&row)
	for range 3 {
		_ = w.Item(&wire.Item{Key: []byte("k")})
	}
	_ = w.End()
	if res := post("/v1/restore/kv/1?of=8", row.String()); res.StatusCode != 200 {
		t.Errorf("restore: status %d", res.StatusCode)
	}
	if res := post("/v1/restore/kv/1?of=8", row.String()[:row.Len()-1]); res.StatusCode != 400 {
		t.Errorf("restore of records cut off: status %d", res.StatusCode)
	}
}
