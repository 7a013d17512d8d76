package ringcore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/ringcoretest"
	"github.com/ringcore/ringcore/vnodes"
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

// bank is a vnode whose commands move money between two of its accounts: what all have
// together stays the same.
type bank struct{}

const accounts = 300

func (bank) Command(tx *ringcore.Tx, cmd []byte) ([]byte, error) {
	for i, change := range []int{-1, 1} {
		key := cmd[2*i : 2*i+2]
		old, _ := tx.Get(key)
		balance, _ := strconv.Atoi(string(old)) // 0 before the first move
		tx.Put(key, fmt.Append(nil, balance+change))
	}
	return nil, nil
}

// What one command writes is in an incremental backup as a whole, though commands
// change leaves of the hash tree while it looks for those that have changed.
func TestIncrementalBackupIsOfOneMoment(t *testing.T) {
	c := ringcoretest.Start(t, 1, ringcore.Config{Partitions: 8, Services: []ringcore.Service{
		{Name: "bank", N: 1, New: func(ringcore.Partition) ringcore.Vnode { return bank{} }},
	}})
	ctx, stop := context.WithCancel(t.Context())
	var moving sync.WaitGroup
	defer moving.Wait()
	defer stop()
	move := func(from, to int) error {
		cmd := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(from)), uint16(to))
		_, err := c.Node(0).Command(ctx, "bank", ringcore.Call{Key: []byte("k"), Body: cmd})
		return err
	}
	for i := range accounts - 1 {
		if err := move(i, i+1); err != nil {
			t.Fatal(err)
		}
	}
	for range 16 {
		moving.Go(func() {
			for from := 0; move(from, (from+1+rand.IntN(accounts-1))%accounts) == nil; from = rand.IntN(accounts) {
			}
		})
	}
	p := ring.Locate(ring.HashKey("", []byte("k")), 8)
	var known []byte
	have := map[string]int{}
	partial := 0
	for round := range 50 {
		var tree vnodes.Tree
		var leaves vnodes.Leaves
		err := c.Node(0).Admin().Fold(ctx, "bank", int(p), known, func(b []byte) error {
			leaves, _ = vnodes.ParseLeaves(b)
			maps.DeleteFunc(have, func(key string, _ int) bool { return leaves.Holds([]byte(key)) })
			return nil
		}, func(it *wire.Item) (err error) {
			have[string(it.Key)], err = strconv.Atoi(string(it.Value))
			tree.Note(it.Key, &vnodes.Record{Stamp: it.Stamp, Value: it.Value})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		last, _ := vnodes.ParseTree(known)
		last.Take(&tree, &leaves)
		known = last.Append(nil)
		sum := 0
		for _, balance := range have {
			sum += balance
		}
		if sum != 0 || len(have) != accounts {
			t.Fatalf("backup %d: %d accounts have %d together", round, len(have), sum)
		}
		if leaves != vnodes.AllLeaves() {
			partial++
		}
	}
	if partial == 0 {
		t.Error("every backup was a full one: the test proves nothing")
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

// While a member is of a version that knows no backups, nobody makes one.
func TestBackupNeedsAllMembers(t *testing.T) {
	n := ringcoretest.Start(t, 1, ringcore.Config{Partitions: 8, Hold: map[string]int{"backup": 0}}).Node(0)
	none := func([]byte) error { t.Error("records"); return nil }
	_, viewErr := n.Admin().Backup(t.Context())
	_, restoreErr := n.Admin().Restore(t.Context(), "kv", 0, 8, nil)
	for _, err := range []error{viewErr, n.Admin().Fold(t.Context(), "kv", 0, nil, none, nil), restoreErr} {
		if e, ok := err.(*wire.Error); !ok || e.Code != wire.NotSupported {
			t.Errorf("%v", err)
		}
	}
}
