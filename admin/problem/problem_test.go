package problem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

func TestFrom(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{wire.Errorf(wire.NotFound, "x"), 404, "not_found"},
		{fmt.Errorf("get: %w", wire.Errorf(wire.Unavailable, "x")), 503, "unavailable"},
		{wire.Errorf(wire.TooLarge, "x"), 413, "too_large"},
		{&http.MaxBytesError{Limit: 7}, 413, "too_large"},
		{context.DeadlineExceeded, 504, "deadline"},
		{errors.New("x"), 500, "internal"},
		{&wire.Error{}, 500, "internal"},
	} {
		p := From(c.err)
		if p.Status != c.status || p.Code != c.code || p.Type != "urn:ringcore:problem:"+c.code {
			t.Errorf("From(%v) = %+v, want status %d, code %s", c.err, p, c.status, c.code)
		}
	}
}

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	err := &Extended{Err: wire.Errorf(wire.Overload, "queue full"), Extra: map[string]any{"missing": []int{3}, "status": "spoofed"}}
	Write(w, httptest.NewRequest(http.MethodGet, "/", nil), err)
	if w.Code != 503 || w.Header().Get("Retry-After") != "1" || w.Header().Get("Content-Type") != ContentType {
		t.Fatalf("status %d, header %v", w.Code, w.Header())
	}
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["code"] != "overload" || got["status"] != float64(503) || got["detail"] != "queue full" || len(got["missing"].([]any)) != 1 {
		t.Fatalf("document %v", got)
	}

	w = httptest.NewRecorder()
	Write(w, httptest.NewRequest(http.MethodHead, "/", nil), wire.Errorf(wire.NotFound, "x"))
	if w.Code != 404 || w.Body.Len() != 0 {
		t.Fatalf("HEAD: status %d, body %q", w.Code, w.Body)
	}
}

func TestWriteSurvivesExtraThatIsNoJSON(t *testing.T) {
	w := httptest.NewRecorder()
	Write(w, nil, &Extended{Err: errors.New("x"), Extra: map[string]any{"f": func() {}}})
	if !json.Valid(w.Body.Bytes()) || w.Code != 500 {
		t.Fatalf("status %d, body %q", w.Code, w.Body)
	}
}
