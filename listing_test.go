package ringcore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ringcore/ringcore/vnodes/kv"
)

// lister lists a bucket through all doors without pause, and notes each answer that is
// not whole: a key missing, or twice, or partitions named as missing.
type lister struct {
	keys int

	mu    sync.Mutex
	doors []*Node
	wrong []string

	lists   atomic.Int64
	stop    context.CancelFunc
	running sync.WaitGroup
}

func startLister(keys int, doors ...*Node) *lister {
	l := &lister{keys: keys, doors: doors}
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	l.running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			l.mu.Lock()
			door := l.doors[i%len(l.doors)]
			l.mu.Unlock()
			if why := listed(door, "listed", l.keys); why != "" {
				l.mu.Lock()
				l.wrong = append(l.wrong, door.cfg.Name+": "+why)
				l.mu.Unlock()
			}
			l.lists.Add(1)
		}
	})
	return l
}

// listed lists a bucket and says what is wrong with it; nothing if it has just the keys.
func listed(n *Node, bucket string, keys int) string {
	seen := make(map[string]int)
	cover, err := n.KV().Keys(context.Background(), bucket, kv.Options{}, func(e *kv.Entry) error {
		seen[string(e.Key)]++
		return nil
	})
	if err != nil || !cover.Complete {
		return fmt.Sprintf("%v, missing %v", err, cover.Missing)
	}
	for key, times := range seen {
		if times > 1 {
			return fmt.Sprintf("%s comes %d times", key, times)
		}
	}
	if len(seen) != keys {
		return fmt.Sprintf("%d keys of %d", len(seen), keys)
	}
	return ""
}

func (l *lister) setDoors(doors ...*Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doors = doors
}

// goesOn waits until a listing that has begun after now has ended at every door.
func (l *lister) goesOn(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	goal := l.lists.Load() + int64(len(l.doors)) + 1
	l.mu.Unlock()
	eventually(t, "listings go on", func() error {
		if now := l.lists.Load(); now < goal {
			return fmt.Errorf("%d of %d", now, goal)
		}
		return nil
	})
}

// Listings of a bucket, and of many small ones, are whole through joins, through the stop
// of one node and its return: every key once, nothing named as missing.
func TestListingsAreWholeThroughJoinsAndAStop(t *testing.T) {
	const keys, buckets = 1000, 120
	n1 := testNode(t, Config{Name: "n1", Replicas: 3})
	for i := range keys {
		if err := n1.KV().Put(t.Context(), "listed", fmt.Append(nil, "key", i), []byte("v"), kv.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range buckets {
		if err := n1.KV().Put(t.Context(), fmt.Sprint("bucket", i), []byte("key"), []byte("v"), kv.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	l := startLister(keys, n1)
	n2 := testNode(t, Config{Name: "n2", Join: []string{n1.Info().Addr}})
	l.setDoors(n1, n2)
	dir := t.TempDir()
	n3 := testNode(t, Config{Name: "n3", Dir: dir, Join: []string{n1.Info().Addr}})
	n4 := testNode(t, Config{Name: "n4", Join: []string{n1.Info().Addr}})
	settled(t, n1, n2, n3, n4)
	l.setDoors(n1, n2, n4)
	l.goesOn(t)
	if err := n3.Close(); err != nil {
		t.Fatal(err)
	}
	l.goesOn(t)
	for i := range buckets {
		if why := listed([]*Node{n1, n2, n4}[i%3], fmt.Sprint("bucket", i), 1); why != "" {
			t.Errorf("bucket %d while n3 is down: %s", i, why)
		}
	}
	n3 = testNode(t, Config{Name: "n3", Dir: dir, Join: []string{n1.Info().Addr}})
	l.setDoors(n1, n2, n3, n4)
	l.goesOn(t)
	l.stop()
	l.running.Wait()
	for _, w := range l.wrong {
		t.Error(w)
	}
	t.Logf("%d listings", l.lists.Load())
}
