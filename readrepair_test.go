package ringcore

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes"
)

// register is a service of a user's own, with replicas, that knows nothing of repair: a
// key holds the last value that was written.
type register struct{}

func (register) Blind([]byte) bool { return true }

func (register) Command(tx *vnodes.Tx, cmd []byte) ([]byte, error) {
	tx.Put(tx.Key(), cmd)
	return nil, nil
}

func (register) Query(tx *vnodes.Tx, _ []byte) ([]byte, error) {
	r, ok := tx.Record(tx.Key())
	if !ok {
		return nil, tx.Err()
	}
	return append(r.Stamp.Append(nil), r.Value...), nil
}

func (register) Resolve(_ []byte, replies [][]byte) ([]byte, error) {
	best := replies[0]
	for _, r := range replies { // stamps are encoded in their order
		if bytes.Compare(r, best) > 0 {
			best = r
		}
	}
	return best, nil
}

// A replica alone has a newer version, as one that a coordinator could not bring to the
// others before it died. A read finds out, and the others get it without any other read.
func TestReadRepairOfAnyService(t *testing.T) {
	services := []Service{{Name: "register", N: 3, New: func(ring.Partition) vnodes.Vnode { return register{} }}}
	n1 := testNode(t, Config{Name: "n1", Replicas: 3, Services: services})
	n2 := testNode(t, Config{Name: "n2", Services: services, Join: []string{n1.Info().Addr}})
	n3 := testNode(t, Config{Name: "n3", Services: services, Join: []string{n1.Info().Addr}})
	settled(t, n1, n2, n3)
	call := wire.Call{Bucket: "b", Key: []byte("k"), Body: []byte("old")}
	if _, err := n1.Command(t.Context(), "register", call); err != nil {
		t.Fatal(err)
	}

	g := n2.core.Load().meta.Ring()
	p := ring.Locate(ring.HashKey("b", []byte("k")), g.Q())
	newer := vnodes.Write{Key: []byte("k"), Record: vnodes.Record{
		Stamp: vnodes.Stamp{Time: uint64(time.Now().Add(10*time.Millisecond).UnixMilli()) << 16, Node: 1, ID: 1}, Value: []byte("new"),
	}}
	taken := make(chan wire.Code, 1)
	n2.core.Load().vnodes.Dispatch(&wire.Request{
		Op: wire.OpEffect, Service: wire.ServiceID("register"), Partition: uint16(p), Gen: uint64(g.Gen(p)), Epoch: uint64(g.Epoch),
		Effect: vnodes.AppendWrites(nil, []vnodes.Write{newer}), Done: func(code wire.Code, _ uint64, _ []byte) { taken <- code },
	})
	if code := <-taken; code != wire.OK {
		t.Fatal(code)
	}

	call.Quorum = wire.QuorumAll
	if got, err := n1.Query(t.Context(), "register", call); err != nil || !bytes.HasSuffix(got, []byte("new")) {
		t.Fatalf("read %q, %v", got, err)
	}
	call.Quorum = 1 // of each node's own copy
	for _, n := range []*Node{n1, n2, n3} {
		eventually(t, n.cfg.Name+" has it", func() error {
			got, err := n.Query(t.Context(), "register", call)
			if err == nil && !bytes.HasSuffix(got, []byte("new")) {
				err = fmt.Errorf("read %q", got)
			}
			return err
		})
	}
	eventually(t, "the repair is counted", func() error {
		counts := map[string]float64{}
		for _, m := range (view{n1}).Metrics() {
			counts[m.Name] = m.Value
		}
		if counts["read_repairs_total"] != 1 || counts["read_repairs_replicas_total"] != 2 {
			return fmt.Errorf("%v", counts)
		}
		return nil
	})
}
