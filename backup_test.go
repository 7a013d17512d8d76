package ringcore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/ringcoretest"
)

// ledger is a service of one's own with one replica: a command adds to an account, and
// keeps the sum of all accounts of its vnode under a key that no command is addressed to.
type ledger struct{}

func (ledger) Command(tx *ringcore.Tx, cmd []byte) ([]byte, error) {
	add := func(key []byte) uint64 {
		old, _ := tx.Get(key)
		sum := binary.BigEndian.Uint64(append(make([]byte, 8-len(old)), old...)) + uint64(len(cmd))
		tx.Put(key, binary.BigEndian.AppendUint64(nil, sum))
		return sum
	}
	if tx.Bucket() == "summed" {
		add([]byte("sum"))
	}
	return binary.BigEndian.AppendUint64(nil, add(tx.Key())), nil
}

// maxima is one with several replicas and a rule of its own: the longest value wins.
type maxima struct{}

func (maxima) Command(tx *ringcore.Tx, cmd []byte) ([]byte, error) {
	if old, ok := tx.Held(tx.Key()); !ok || len(cmd) > len(old.Value) {
		tx.Put(tx.Key(), cmd)
	}
	return nil, nil
}

func (maxima) Blind([]byte) bool { return true }

func (maxima) Query(tx *ringcore.Tx, _ []byte) ([]byte, error) {
	v, _ := tx.Get(tx.Key())
	return v, nil
}

func (maxima) Merge(_ []byte, have, incoming ringcore.Record) ringcore.Record {
	newest := have.Newer(incoming)
	if len(incoming.Value) > len(have.Value) {
		have.Value = incoming.Value
	}
	have.Stamp = newest.Stamp
	return have
}

func ownServices() []ringcore.Service {
	return []ringcore.Service{
		{Name: "ledger", N: 1, New: func(ringcore.Partition) ringcore.Vnode { return ledger{} }},
		{Name: "maxima", New: func(ringcore.Partition) ringcore.Vnode { return maxima{} }},
	}
}

// copyService has to store what from holds of a service, and returns how many records.
func copyService(ctx context.Context, from, to *ringcore.Node, service string, q int) (total int64, err error) {
	for p := range q {
		var row bytes.Buffer
		out := wire.NewBlockWriter(&row)
		if err := from.Admin().Fold(ctx, service, p, nil, func([]byte) error { return nil }, out.Item); err != nil {
			return total, err
		}
		if err := out.End(); err != nil {
			return total, err
		}
		in := wire.NewBlockReader(&row)
		done, err := to.Admin().Restore(ctx, service, p, q, func() (wire.Item, error) { return in.Item(nil) })
		if err != nil {
			return total, err
		}
		total += done.Records
	}
	return total, nil
}

// A service of one's own is backed up and restored without a line from its author, into
// a ring of any size that its keys find their way in.
func TestOwnServicesAreBackedUp(t *testing.T) {
	const keys = 30
	start := func(n, q int) *ringcoretest.Cluster {
		return ringcoretest.Start(t, n, ringcore.Config{Partitions: q, Replicas: n, Services: ownServices()})
	}
	a, b, small := start(1, 32), start(2, 64), start(1, 8)
	ctx := t.Context()
	key := func(i int) []byte { return fmt.Appendf(nil, "k%d", i) }
	for i := range keys {
		for _, c := range []struct{ service, cmd string }{{"ledger", "xx"}, {"maxima", "long one"}} {
			if _, err := a.Node(0).Command(ctx, c.service, ringcore.Call{Key: key(i), Body: []byte(c.cmd)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := b.Node(0).Command(ctx, "maxima", ringcore.Call{Key: key(0), Body: []byte("longest of all")}); err != nil {
		t.Fatal(err)
	}
	for _, to := range []*ringcoretest.Cluster{b, small} {
		for _, service := range []string{"ledger", "maxima"} {
			if n, err := copyService(ctx, a.Node(0), to.Node(0), service, 32); err != nil || n != keys {
				t.Fatalf("%s: %d records restored: %v", service, n, err)
			}
		}
		last := to.Nodes()[len(to.Nodes())-1]
		for i := range keys {
			sum, err := last.Command(ctx, "ledger", ringcore.Call{Key: key(i), Body: []byte("x")})
			if err != nil || binary.BigEndian.Uint64(sum) != 3 {
				t.Fatalf("account %d: %v, %v", i, sum, err)
			}
			want := "long one"
			if i == 0 && to == b {
				want = "longest of all"
			}
			if v, err := last.Query(ctx, "maxima", ringcore.Call{Key: key(i)}); err != nil || string(v) != want {
				t.Fatalf("maximum %d: %q, %v", i, v, err)
			}
		}
	}

	// Keys that do not tell where they belong fit into as many partitions only.
	for i := range keys {
		if _, err := a.Node(0).Command(ctx, "ledger", ringcore.Call{Bucket: "summed", Key: key(i), Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range []*ringcoretest.Cluster{b, small} {
		_, err := copyService(ctx, a.Node(0), to.Node(0), "ledger", 32)
		if e, ok := err.(*wire.Error); !ok || e.Code != wire.Refused {
			t.Errorf("into a ring of another size: %v", err)
		}
	}
	if _, err := copyService(ctx, a.Node(0), a.Node(0), "ledger", 32); err != nil {
		t.Error(err)
	}
	view, err := a.Node(0).Admin().Backup(ctx)
	if err != nil || len(view.Services) != 3 || view.Partitions != 32 || !slices.ContainsFunc(view.Services, func(s admin.BackupService) bool { return s.Name == "kv" }) {
		t.Errorf("%+v, %v", view, err)
	}
	if _, err := a.Node(0).Admin().Restore(ctx, "nobody", 0, 32, func() (wire.Item, error) { return wire.Item{Key: []byte("k")}, nil }); err == nil {
		t.Error("records of a service that is not there were taken")
	}
	if _, err := a.Node(0).Admin().Restore(ctx, "kv", 0, 33, func() (wire.Item, error) { return wire.Item{}, io.EOF }); err == nil {
		t.Error("a ring of 33 partitions was believed")
	}
}
