package kv

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// A key that more copies have written than a context can tell is refused until what was
// replaced is settled; from then on it can be written for ever.
func TestManyCopiesWriteAKey(t *testing.T) {
	f := newFake(3)
	f.keeps = true
	k := f.kv()
	write := func(i uint64) error {
		f.actor = i + 1
		obj, err := k.Get(t.Context(), "b", []byte("a"), Options{})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		return k.Put(t.Context(), "b", []byte("a"), fmt.Append(nil, i), Options{Context: obj.Context})
	}
	for i := range uint64(codec.MaxActors) {
		if err := write(i); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := write(codec.MaxActors); !errors.Is(err, &wire.Error{Code: wire.Refused}) {
		t.Fatalf("more copies than a context can tell: %v", err)
	}
	for i := range uint64(4 * codec.MaxActors) {
		if i%codec.KeptActors == 0 {
			f.settled = f.time
		}
		if err := write(1000 + i); err != nil {
			t.Fatal(i, err)
		}
	}
	wantSiblings(t, k, "a", fmt.Sprint(999+4*codec.MaxActors))
}

// failing is a body that cannot be read to its end for a reason of the node's.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, wire.Errorf(wire.Overload, "no room") }

func TestBodyRefused(t *testing.T) {
	rec := httptest.NewRecorder()
	newFake(1).kv().HTTPHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodPut, "/v1/kv/b/a", failing{}))
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
