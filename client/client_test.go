package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

func put(t *testing.T, c *Client, key, value string) {
	t.Helper()
	if err := c.Put(t.Context(), "b", []byte(key), []byte(value), WriteOptions{}); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

func wantValue(t *testing.T, c *Client, key, want string) Object {
	t.Helper()
	obj, err := c.Get(t.Context(), "b", []byte(key), ReadOptions{})
	if err != nil || string(obj.Value) != want {
		t.Fatalf("get %q: %q, %v; want %q", key, obj.Value, err, want)
	}
	return obj
}

func TestPutGetDelete(t *testing.T) {
	for _, replicas := range []int{1, 3} {
		t.Run(fmt.Sprintf("n=%d", replicas), func(t *testing.T) {
			c := newCluster(t, 3, replicas).client()
			if _, err := c.Get(t.Context(), "b", []byte("a"), ReadOptions{}); !errors.Is(err, ErrNotFound) {
				t.Fatalf("get of nothing: %v", err)
			}
			put(t, c, "a", "1")
			obj := wantValue(t, c, "a", "1")
			back, err := ParseContext(obj.Context.String())
			if err != nil || back != obj.Context || obj.Context.String() == "" {
				t.Fatalf("context %v came back as %v: %v", obj.Context, back, err)
			}
			at := time.UnixMilli(2_000_000_000_000)
			if err := c.Put(t.Context(), "b", []byte("a"), []byte("2"), WriteOptions{Context: obj.Context, Expires: at}); err != nil {
				t.Fatal(err)
			}
			if obj := wantValue(t, c, "a", "2"); !obj.Expires.Equal(at) {
				t.Fatalf("expires %v", obj.Expires)
			}
			old, err := c.Delete(t.Context(), "b", []byte("a"), WriteOptions{})
			if err != nil || string(old.Value) != "2" {
				t.Fatalf("delete: %q, %v", old.Value, err)
			}
			if _, err := c.Delete(t.Context(), "b", []byte("a"), WriteOptions{}); !errors.Is(err, ErrNotFound) {
				t.Fatalf("second delete: %v", err)
			}
		})
	}
}

func TestRequestsGoStraightToTheOwner(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	for i := range 100 {
		key := fmt.Sprint(i)
		before := f.owner(key, 0).count(wire.OpCommand)
		put(t, c, key, "v")
		if f.owner(key, 0).count(wire.OpCommand) != before+1 {
			t.Fatalf("key %q did not go to its owner", key)
		}
	}
	pong, err := c.Ping(t.Context(), []byte("7"))
	want := ring.Locate(ring.HashKey(codec.DefaultBucket, []byte("7")), fakeQ)
	if err != nil || pong.Partition != want || !strings.HasPrefix(pong.Node, "n") {
		t.Fatalf("ping: %+v, %v; want partition %d", pong, err, want)
	}
}

func TestManyCallersShareOneConnection(t *testing.T) {
	f := newCluster(t, 1, 1)
	c := f.client()
	var wg sync.WaitGroup
	for i := range 2000 {
		wg.Go(func() {
			key, value := []byte(fmt.Sprint(i)), fmt.Sprint("value ", i)
			if err := c.Put(t.Context(), "b", key, []byte(value), WriteOptions{}); err != nil {
				t.Errorf("put: %v", err)
			}
			if obj, err := c.Get(t.Context(), "b", key, ReadOptions{}); err != nil || string(obj.Value) != value {
				t.Errorf("get %s: %q, %v", key, obj.Value, err)
			}
		})
	}
	wg.Wait()
	f.nodes[0].set(func() {
		if len(f.nodes[0].conns) != 1 {
			t.Errorf("%d connections", len(f.nodes[0].conns))
		}
	})
}

// An answer that names a newer ring has it fetched; routing follows.
func TestLearnsTheRing(t *testing.T) {
	f := newCluster(t, 3, 1)
	c := f.client()
	put(t, c, "a", "1")
	from := f.owner("a", 0)
	p := ring.Locate(ring.HashKey("b", []byte("a")), fakeQ)
	to := f.nodes[(slices.Index(f.nodes, from)+1)%3]
	f.change(func(r *ring.Ring) {
		r.Assignments[p] = ring.Assignment{Gen: 2, Replicas: []ring.Replica{{Node: to.id}}}
	})
	wantValue(t, c, "a", "1")
	eventually(t, "the new ring is known", func() bool { return c.view.Load().ring.Epoch == 2 })
	before := to.count(wire.OpQuery)
	wantValue(t, c, "a", "1")
	if to.count(wire.OpQuery) != before+1 {
		t.Fatal("the new owner was not asked")
	}
}

// A refusal that says that nothing ran is tried again until it works.
func TestTriesAgainWhatDidNotRun(t *testing.T) {
	for _, code := range []wire.Code{wire.Moved, wire.Overload, wire.ShuttingDown, wire.NotReadable} {
		f := newCluster(t, 3, 1)
		c := f.client()
		refuseFive := func() {
			left := 5
			f.setRefuse(func(*node, *wire.Frame) (wire.Code, string) {
				if left--; left >= 0 {
					return code, "not now"
				}
				return wire.OK, ""
			})
		}
		refuseFive()
		put(t, c, "a", "1")
		refuseFive()
		if _, err := c.Delete(t.Context(), "b", []byte("a"), WriteOptions{}); err != nil {
			t.Errorf("%v: delete: %v", code, err)
		}
	}
}

func TestFinalErrorsAreNotTriedAgain(t *testing.T) {
	for code, want := range map[wire.Code]error{
		wire.Unavailable: ErrUnavailable, wire.TooLarge: ErrTooLarge, wire.Corrupt: &Error{Code: wire.Corrupt},
	} {
		f := newCluster(t, 3, 3)
		f.setRefuse(func(*node, *wire.Frame) (wire.Code, string) { return code, "reached 1 of 2" })
		c := f.client()
		_, err := c.Get(t.Context(), "b", []byte("a"), ReadOptions{})
		if !errors.Is(err, want) || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "reached 1 of 2") {
			t.Errorf("%v: %v", code, err)
		}
		total := 0
		for _, n := range f.nodes {
			total += n.count(wire.OpQuery)
		}
		if total != 1 {
			t.Errorf("%v: asked %d times", code, total)
		}
	}
}

// A coordinator that reaches too few replicas may be the one that is cut off: each
// node is asked once before that is the answer. What may not run twice is told at once.
func TestQuorumNotMetIsAskedElsewhere(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	cut := f.owner("a", 0)
	f.setRefuse(func(n *node, _ *wire.Frame) (wire.Code, string) {
		if n == cut {
			return wire.QuorumNotMet, "reached 1 of 2"
		}
		return wire.OK, ""
	})
	put(t, c, "a", "1")
	wantValue(t, c, "a", "1")
	_, err := c.Command(t.Context(), "kv", Call{Bucket: "b", Key: []byte("a"), Body: []byte("x")})
	if !errors.Is(err, ErrQuorum) {
		t.Errorf("a command that reads: %v", err)
	}

	f.setRefuse(func(*node, *wire.Frame) (wire.Code, string) { return wire.QuorumNotMet, "reached 1 of 2" })
	asked := func() (total int) {
		for _, n := range f.nodes {
			total += n.count(wire.OpQuery)
		}
		return total
	}
	before := asked()
	if _, err := c.Get(t.Context(), "b", []byte("a"), ReadOptions{}); !errors.Is(err, ErrQuorum) || !strings.Contains(err.Error(), "reached 1 of 2") {
		t.Errorf("get: %v", err)
	}
	if n := asked() - before; n != 3 {
		t.Errorf("asked %d times", n)
	}
}

// A coordinator that has waited for a replica which is there, and reached too few all the
// same, is asked again as long as there is time: a slot that moves holds its requests until
// the outcome is known.
func TestQuorumNotMetAfterLongIsAskedAgain(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	put(t, c, "a", "1")
	var asked atomic.Int64
	f.setRefuse(func(n *node, _ *wire.Frame) (wire.Code, string) {
		if asked.Add(1) > 3 {
			return wire.OK, ""
		}
		<-time.After(400 * time.Millisecond) // as one that waits until its deadline
		return wire.QuorumNotMet, "reached 1 of 2"
	})
	got, err := c.Get(t.Context(), "b", []byte("a"), ReadOptions{Timeout: 1500 * time.Millisecond})
	if err != nil || string(got.Value) != "1" {
		t.Errorf("get: %q, %v, after %d questions", got.Value, err, asked.Load())
	}
}

// A node that is none of the replicas any more, and is cut off, is not the last word: the
// client sent the request there because its ring was old.
func TestFormerReplicaThatIsCutOff(t *testing.T) {
	f := newCluster(t, 4, 1)
	c := f.client()
	put(t, c, "a", "1")
	former := f.owner("a", 0)
	f.setRefuse(func(n *node, _ *wire.Frame) (wire.Code, string) {
		if n == former {
			return wire.Unavailable, "no replica of the partition could be reached"
		}
		return wire.OK, ""
	})
	p := ring.Locate(ring.HashKey("b", []byte("a")), fakeQ)
	f.change(func(r *ring.Ring) {
		heir := f.nodes[(slices.Index(f.nodes, former)+1)%4]
		r.Assignments[p] = ring.Assignment{Gen: 2, Replicas: []ring.Replica{{Node: heir.id}}}
	})
	wantValue(t, c, "a", "1")
	put(t, c, "a", "2")
	if n := former.count(wire.OpQuery) + former.count(wire.OpCommand); n > 3 { // the first put, and each once while the client did not know
		t.Errorf("the former replica was asked %d times", n)
	}
}

func TestOverloadEndsAtTheDeadline(t *testing.T) {
	f := newCluster(t, 1, 1)
	f.setRefuse(func(*node, *wire.Frame) (wire.Code, string) { return wire.Overload, "full" })
	err := f.client().Put(t.Context(), "b", []byte("a"), nil, WriteOptions{Timeout: 50 * time.Millisecond})
	if !errors.Is(err, ErrOverload) {
		t.Fatalf("put: %v", err)
	}
	if n := f.nodes[0].count(wire.OpCommand); n < 2 || n > 40 {
		t.Fatalf("asked %d times in 50 ms", n)
	}
}

func TestOverloadIsReturnedAtOnceIfAsked(t *testing.T) {
	f := newCluster(t, 3, 3)
	f.setRefuse(func(*node, *wire.Frame) (wire.Code, string) { return wire.Overload, "full" })
	c, err := Open(t.Context(), Config{Addrs: []string{f.nodes[0].address()}, NoBackoff: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Put(t.Context(), "b", []byte("a"), nil, WriteOptions{Timeout: time.Hour}); !errors.Is(err, ErrOverload) {
		t.Fatalf("put: %v", err)
	}
	if _, err := c.Keys(t.Context(), "b", CoverOptions{Timeout: time.Hour}, func(*Item) error { return nil }); !errors.Is(err, ErrOverload) {
		t.Fatalf("keys: %v", err)
	}
	if n := f.owner("a", 0).count(wire.OpCommand); n != 1 {
		t.Fatalf("asked %d times", n)
	}
}

// A full disk is the cluster's last word: its nodes have asked each other.
func TestFullDiskIsFinal(t *testing.T) {
	f := newCluster(t, 3, 3)
	f.setRefuse(func(*node, *wire.Frame) (wire.Code, string) { return wire.DiskFull, "no room" })
	err := f.client().Put(t.Context(), "b", []byte("a"), nil, WriteOptions{})
	if !errors.Is(err, ErrDiskFull) || errors.Is(err, ErrMaybe) {
		t.Fatalf("put: %v", err)
	}
	total := 0
	for _, n := range f.nodes {
		total += n.count(wire.OpCommand)
	}
	if total != 1 {
		t.Errorf("asked %d times", total)
	}
}

func TestGoesOnWithoutANodeThatIsDown(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	for i := range 50 {
		put(t, c, fmt.Sprint(i), "v")
	}
	f.nodes[1].stop()
	for i := range 50 {
		wantValue(t, c, fmt.Sprint(i), "v")
		put(t, c, fmt.Sprint(i), "w")
	}
	// It comes back under another address.
	f.nodes[1].start()
	f.change(func(*ring.Ring) {})
	eventually(t, "the node is asked again", func() bool {
		for i := range 50 {
			wantValue(t, c, fmt.Sprint(i), "w")
		}
		return f.nodes[1].count(wire.OpQuery) > 0
	})
}

// The owner takes requests and answers none: others are asked in time.
func TestGoesOnWithoutANodeThatHangs(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	put(t, c, "a", "1")
	f.owner("a", 0).set(func() { f.owner("a", 0).mute = true })
	start := time.Now()
	obj, err := c.Get(t.Context(), "b", []byte("a"), ReadOptions{Timeout: 3 * time.Second})
	if err != nil || string(obj.Value) != "1" || time.Since(start) > 2*time.Second {
		t.Fatalf("get after %v: %q, %v", time.Since(start), obj.Value, err)
	}
	asked := f.owner("a", 0).count(wire.OpQuery)
	wantValue(t, c, "a", "1")
	if f.owner("a", 0).count(wire.OpQuery) != asked {
		t.Fatal("the node that hangs is asked again at once")
	}
}

// The connection breaks after the command ran: a blind write is sent again under
// the same id, any other command is reported.
func TestBrokenConnections(t *testing.T) {
	f := newCluster(t, 3, 1)
	c := f.client()
	put(t, c, "a", "0")
	f.mu.Lock()
	clear(f.ids)
	f.mu.Unlock()
	f.owner("a", 0).set(func() { f.owner("a", 0).drop = true })
	put(t, c, "a", "1")
	f.mu.Lock()
	if len(f.ids) != 1 || slices.Max(slices.Collect(mapValues(f.ids))) != 2 {
		t.Errorf("write ids and how often each ran: %v", f.ids)
	}
	f.mu.Unlock()
	wantValue(t, c, "a", "1")

	for _, n := range f.nodes {
		n.set(func() { n.drop = true })
	}
	_, err := c.Delete(t.Context(), "b", []byte("a"), WriteOptions{})
	if !errors.Is(err, ErrMaybe) {
		t.Fatalf("delete: %v", err)
	}
}

func mapValues(m map[uint64]int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func TestWritesWithoutAnAnswerInTimeAreMaybe(t *testing.T) {
	f := newCluster(t, 1, 1)
	c := f.client()
	put(t, c, "a", "0")
	f.nodes[0].set(func() { f.nodes[0].mute = true })
	err := c.Put(t.Context(), "b", []byte("a"), nil, WriteOptions{Timeout: 20 * time.Millisecond})
	if !errors.Is(err, ErrMaybe) || !errors.Is(err, ErrDeadline) {
		t.Errorf("put: %v", err)
	}
	if e, ok := asError(err); !ok || e.Code != wire.Maybe {
		t.Errorf("put: its code is that of %v", e)
	}
	if _, err := c.Get(t.Context(), "b", []byte("a"), ReadOptions{Timeout: 20 * time.Millisecond}); !errors.Is(err, ErrDeadline) {
		t.Errorf("get: %v", err)
	}
	for range 50 { // who is told that the time is over finds it so
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, err := c.Get(ctx, "b", []byte("a"), ReadOptions{})
		if ctx.Err() == nil || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrDeadline) {
			t.Fatalf("get: %v, its context: %v", err, ctx.Err())
		}
		cancel()
	}
	if !c.view.Load().order[0].usable() {
		t.Error("the node is shunned because callers were in a hurry")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, "b", []byte("a"), ReadOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("get by a caller that has gone: %v", err)
	}
}

// Nobody can be reached: that is unavailable, and nothing was sent.
func TestNobodyAtHome(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	for _, n := range f.nodes {
		n.stop()
	}
	_, err := c.Delete(t.Context(), "b", []byte("a"), WriteOptions{Timeout: 100 * time.Millisecond})
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrMaybe) {
		t.Fatalf("delete: %v", err)
	}
}

func TestCommandAndQueryOfAnyService(t *testing.T) {
	f := newCluster(t, 1, 1)
	c := f.client()
	if _, err := c.Query(t.Context(), "nosuch", Call{Bucket: "b", Key: []byte("k")}); !errors.Is(err, &Error{Code: wire.BadRequest}) {
		t.Fatalf("query: %v", err)
	}
	body := codec.AppendCommand(nil, &codec.Command{Op: codec.OpTake})
	if _, err := c.Command(t.Context(), "kv", Call{Bucket: "b", Key: []byte("k"), Body: body}); err != nil {
		t.Fatalf("command: %v", err)
	}
}

func TestOpen(t *testing.T) {
	f := newCluster(t, 1, 1)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	c, err := Open(t.Context(), Config{Addrs: []string{dead.Addr().String(), f.nodes[0].address()}, ClusterID: fakeCluster})
	if err != nil {
		t.Fatalf("with one address of two: %v", err)
	}
	_ = c.Close()
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("without an address")
	}
	if _, err := Open(t.Context(), Config{Addrs: []string{f.nodes[0].address()}, ClusterID: "other"}); !errors.Is(err, &Error{Code: wire.WrongCluster}) {
		t.Errorf("another cluster: %v", err)
	}
	if _, err := Open(t.Context(), Config{Addrs: []string{dead.Addr().String()}, Timeout: 80 * time.Millisecond}); err == nil {
		t.Error("nobody there")
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	f := newCluster(t, 1, 1)
	c := f.client()
	f.nodes[0].set(func() { f.nodes[0].mute = true })
	errs := make(chan error, 2)
	go func() {
		_, err := c.Get(t.Context(), "b", []byte("a"), ReadOptions{})
		errs <- err
	}()
	go func() { errs <- c.Put(t.Context(), "b", []byte("a"), nil, WriteOptions{}) }()
	eventually(t, "both are sent", func() bool {
		return f.nodes[0].count(wire.OpQuery) == 1 && f.nodes[0].count(wire.OpCommand) == 1
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-errs; err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("a request ends with %v", err)
		}
	}
	if err := c.Put(t.Context(), "b", []byte("a"), nil, WriteOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	_ = c.Close()
}

func BenchmarkGet(b *testing.B) {
	f := newCluster(&testing.T{}, 1, 1)
	c, err := Open(b.Context(), Config{Addrs: []string{f.nodes[0].address()}})
	if err != nil {
		b.Fatal(err)
	}
	defer f.nodes[0].stop()
	defer c.Close()
	key := []byte("a")
	if err := c.Put(b.Context(), "b", key, make([]byte, 100), WriteOptions{}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Get(b.Context(), "b", key, ReadOptions{}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
