package admin

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// defaultBodies is what the bodies of all requests may take up at a time.
const defaultBodies = 256 << 20

// bodies counts the bytes of the requests' bodies that have arrived, until their requests
// are answered. Whoever comes when there is no room is told at once; what a slow client
// has only announced takes up none.
type bodies struct {
	limit int64
	taken atomic.Int64
}

// body is one request's.
type body struct {
	io.ReadCloser
	all *bodies
	n   int64 // of taken
}

// admit puts r's body under the bound, or refuses r if it cannot fit now. The caller
// releases the body when r is answered.
func (b *bodies) admit(r *http.Request) (*body, error) {
	if r.ContentLength > b.limit-b.taken.Load() {
		return nil, errBodies()
	}
	own := &body{ReadCloser: r.Body, all: b}
	r.Body = own
	return own, nil
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if b.all.taken.Add(int64(n)) > b.all.limit {
		return n, errBodies()
	}
	return n, err
}

func (b *body) release() { b.all.taken.Add(-b.n) }

func errBodies() error {
	return wire.Errorf(wire.Overload, "the bodies of the requests under way take up all the memory that they may")
}
