package ringcore

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ringcore/ringcore/vnodes/kv"
)

// load reads and writes known keys through several nodes without pause, and
// records every wrong answer: an error, a "not found" for a key that is there, a
// value older than one acknowledged before the read began.
type load struct {
	t     *testing.T
	keys  int
	acked []atomic.Int64 // by key: the newest version acknowledged

	mu    sync.Mutex
	doors []*Node
	wrong []string

	reads, writes atomic.Int64
	stop          context.CancelFunc
	running       sync.WaitGroup
}

func startLoad(t *testing.T, keys int, doors ...*Node) *load {
	t.Helper()
	l := &load{t: t, keys: keys, acked: make([]atomic.Int64, keys), doors: doors}
	l.fill()
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	for w := range 4 {
		l.running.Go(func() { l.write(ctx, w, 4) })
	}
	for r := range 4 {
		l.running.Go(func() { l.read(ctx, r) })
	}
	return l
}

// fill writes the first version of every key.
func (l *load) fill() {
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for k := w; k < l.keys; k += 32 {
				l.put(context.Background(), k, 1)
			}
		})
	}
	wg.Wait()
}

func (l *load) door(i int) *kv.KV {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.doors[i%len(l.doors)].KV()
}

func (l *load) setDoors(doors ...*Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doors = doors
}

func (l *load) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

func loadKey(k int) []byte { return []byte("key" + strconv.Itoa(k)) }

func (l *load) put(ctx context.Context, k int, version int64) {
	err := l.door(k+int(version)).Put(ctx, "load", loadKey(k), strconv.AppendInt(nil, version, 10), kv.Options{})
	if err != nil {
		l.fail("put %d of key %d: %v", version, k, err)
		return
	}
	l.acked[k].Store(version)
	l.writes.Add(1)
}

// write raises the versions of the keys that are its own, so that one writer
// alone decides the order of a key's versions.
func (l *load) write(ctx context.Context, w, writers int) {
	for version := int64(2); ; version++ {
		for k := w; k < l.keys; k += writers {
			if ctx.Err() != nil {
				return
			}
			l.put(context.Background(), k, version)
		}
	}
}

func (l *load) read(ctx context.Context, r int) {
	for i := r; ctx.Err() == nil; i += 7 {
		k := i % l.keys
		before := l.acked[k].Load()
		obj, err := l.door(i).Get(context.Background(), "load", loadKey(k), kv.Options{})
		if err != nil {
			l.fail("get key %d, version %d: %v", k, before, err)
			continue
		}
		if got, _ := strconv.ParseInt(string(obj.Value), 10, 64); got < before {
			l.fail("get key %d: version %d, but %d was acknowledged", k, got, before)
		}
		l.reads.Add(1)
	}
}

// end stops the load, reads every key once more through every door, and reports.
func (l *load) end() {
	l.t.Helper()
	l.stop()
	l.running.Wait()
	for i := range l.doors {
		for k := range l.keys {
			want := l.acked[k].Load()
			obj, err := l.door(i).Get(context.Background(), "load", loadKey(k), kv.Options{})
			if got, _ := strconv.ParseInt(string(obj.Value), 10, 64); err != nil || got < want {
				l.fail("at the end, door %d, key %d: version %d, want %d: %v", i, k, got, want, err)
			}
		}
	}
	l.t.Logf("%d reads, %d writes", l.reads.Load(), l.writes.Load())
	for i, w := range l.wrong {
		if i == 20 {
			l.t.Errorf("and %d more", len(l.wrong)-i)
			break
		}
		l.t.Error(w)
	}
	if l.reads.Load() == 0 || l.writes.Load() <= int64(l.keys) {
		l.t.Error("the load has not done anything")
	}
}

// A reader and a writer of known keys, running without pause through joins and a
// leave, see no error, nothing missing and nothing old.
func TestNothingIsLostWhileNodesJoinAndLeave(t *testing.T) {
	for _, replicas := range []int{1, 3} {
		t.Run("replicas"+strconv.Itoa(replicas), func(t *testing.T) {
			n1 := testNode(t, Config{Name: "n1", Replicas: replicas})
			l := startLoad(t, 10_000, n1)
			n2 := testNode(t, Config{Name: "n2", Join: []string{n1.Info().Addr}})
			l.setDoors(n1, n2)
			settled(t, n1, n2)
			n3 := testNode(t, Config{Name: "n3", Join: []string{n1.Info().Addr}})
			l.setDoors(n1, n2, n3)
			settled(t, n1, n2, n3)
			n4 := testNode(t, Config{Name: "n4", Join: []string{n2.Info().Addr}})
			l.setDoors(n1, n3, n4)
			settled(t, n1, n2, n3, n4)
			if err := n1.Leave(t.Context(), "n2"); err != nil {
				t.Fatal(err)
			}
			hasLeft(t, n2, n1, n3, n4)
			settled(t, n1, n3, n4)
			l.end()
		})
	}
}
