package dataplane

import (
	"context"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// instant is vnodes, ring and peers of a benchmark: all answer at once.
type instant struct {
	g    *ring.Ring
	info wire.ServiceInfo
}

func (x *instant) Ring() *ring.Ring { return x.g }

func (x *instant) Fetch(context.Context, ring.Epoch, ring.NodeID) error { return nil }

func (x *instant) Service(uint32) (wire.ServiceInfo, bool) { return x.info, true }

func (x *instant) Suspect(ring.Partition) {}

func (x *instant) Observe(wire.Stamp) {}

func (x *instant) Cover(context.Context, *wire.CoverCall, func(*wire.Item) error) error { return nil }

func (x *instant) Resolve(_ uint32, _ ring.Partition, _ []byte, replies [][]byte) ([]byte, error) {
	return replies[0], nil
}

func (x *instant) Dispatch(r *wire.Request) {
	if r.OnEffect != nil {
		r.OnEffect(r.Call.Body, r.Call.Body)
	}
	r.Done(wire.OK, 1, r.Call.Body)
}

func (x *instant) Send(_ ring.NodeID, _ wire.Header, body []byte, _ time.Time, done func(wire.Frame, error)) {
	done(wire.Frame{Body: body}, nil)
}

func BenchmarkRouter(b *testing.B) {
	for _, x := range []struct {
		name string
		op   wire.Op
		n    int
		list []string
	}{
		{"command/n=1", wire.OpCommand, 1, []string{"a"}},
		{"command/n=3", wire.OpCommand, 3, []string{"a", "b", "c"}},
		{"command/forwarded", wire.OpCommand, 1, []string{"b"}},
		{"query/n=1", wire.OpQuery, 1, []string{"a"}},
		{"query/n=3", wire.OpQuery, 3, []string{"a", "b", "c"}},
	} {
		b.Run(x.name, func(b *testing.B) {
			fake := &instant{g: abc(x.list...), info: wire.ServiceInfo{N: x.n, Resolves: true, Blind: func([]byte) bool { return true }}}
			r := NewRouter(RouterConfig{Self: "a", Rings: fake, Local: fake, Peers: fake, Up: func(ring.NodeID) bool { return true }})
			defer r.Close()
			c := wire.Call{Bucket: "b", Key: []byte("k"), Body: make([]byte, 100)}
			deadline := time.Now().Add(time.Hour)
			done := func(code wire.Code, _ uint64, _ []byte) {
				if code != wire.OK {
					b.Error(code)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				r.Do(x.op, 1, c, 0, deadline, done)
			}
		})
	}
}
