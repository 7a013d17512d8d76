package kv

import (
	"bytes"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// A restored record has a new stamp. Where siblings are kept, whoever has read it before the
// backup has still seen it; where the last write wins, it is the last.
func TestRestored(t *testing.T) {
	v := vnode{siblings: func(bucket string) bool { return bucket == "carts" }}
	old := vnodes.Record{Stamp: wire.Stamp{Time: 5, Node: 1, ID: 9}, Value: codec.AppendEnvelope(nil, &codec.Envelope{Expires: 7, Value: []byte("v")})}
	for bucket, kept := range map[string]bool{"carts": true, "plain": false} {
		key := codec.RecordKey(bucket, []byte("k"))
		if b, k := v.Place(key); b != bucket || string(k) != "k" {
			t.Errorf("placed in %q, %q", b, k)
		}
		s := codec.Stored{Stamp: wire.Stamp{Time: 100}, Value: v.Restored(key, old)}
		o, err := s.Object()
		values := o.Values()
		if err != nil || len(values) != 1 || values[0].Expires != 7 || !bytes.Equal(values[0].Value, []byte("v")) {
			t.Fatalf("%s: %v, %v", bucket, values, err)
		}
		if seen := (codec.Context{Base: old.Stamp}).Covers(&o); seen != kept {
			t.Errorf("%s: a context from before covers it: %v", bucket, seen)
		}
		again := vnodes.Record{Stamp: s.Stamp, Value: s.Value}
		if kept && !bytes.Equal(v.Restored(key, again), s.Value) {
			t.Error("restored twice it is not the same")
		}
	}
}
