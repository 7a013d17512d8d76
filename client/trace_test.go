package client

import (
	"context"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

type traceOfTest struct{}

// A request is sent with the trace of its context, to nodes that read traces; to others without, and
// nothing at all goes of one that is not sampled.
func TestTraceTravels(t *testing.T) {
	f := newCluster(t, 1, 1)
	at := f.nodes[0]
	arrived := make(chan *wire.Trace, 1)
	f.setRefuse(func(_ *node, r *wire.Frame) (wire.Code, string) {
		arrived <- r.Trace
		return wire.OK, ""
	})
	sampled := ParseTrace("00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01")
	silent := *sampled
	silent.Flags = 0
	for _, x := range []struct {
		name string
		caps []string
		from *Trace
		want bool
	}{
		{"to a node of an older version", nil, sampled, false},
		{"sampled", []string{wire.CapTrace}, sampled, true},
		{"not sampled", []string{wire.CapTrace}, &silent, false},
		{"not traced", []string{wire.CapTrace}, nil, false},
	} {
		at.set(func() { at.caps = x.caps })
		c, err := Open(t.Context(), Config{Addrs: []string{at.address()}, Trace: func(ctx context.Context) *Trace {
			have, _ := ctx.Value(traceOfTest{}).(*Trace)
			return have
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.WithValue(t.Context(), traceOfTest{}, x.from)
		if err := c.Put(ctx, "b", []byte("k"), []byte("v"), WriteOptions{}); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		if got := <-arrived; (got != nil) != x.want || x.want && *got != *sampled {
			t.Errorf("%s: came with %v", x.name, got)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
