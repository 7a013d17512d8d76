package client

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

var one = ReadOptions{R: One}

// lag has every node's own copy stay as it is now; only a majority knows what comes.
func (c *cluster) lag() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		n.behind = maps.Clone(c.data)
	}
}

// queries counts the queries that f runs.
func (c *cluster) queries(f func()) (n int) {
	for _, x := range c.nodes {
		n -= x.count(wire.OpQuery)
	}
	f()
	for _, x := range c.nodes {
		n += x.count(wire.OpQuery)
	}
	return n
}

// wantSession reads a key in s with one replica, with so many questions.
func wantSession(t *testing.T, f *cluster, s *Session, want string, queries int) {
	t.Helper()
	var got Object
	var err error
	asked := f.queries(func() { got, err = s.Get(t.Context(), "b", []byte("k"), one) })
	if notFound := errors.Is(err, ErrNotFound); string(got.Value) != want || notFound != (want == "") || err != nil && !notFound || asked != queries {
		t.Fatalf("%q, %v, %d questions; want %q with %d", got.Value, err, asked, want, queries)
	}
}

func TestSessionReadsItsWrites(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	s, key := c.Session(), []byte("k")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Put(t.Context(), "b", key, []byte("1"), WriteOptions{W: One}))
	wantSession(t, f, s, "1", 1) // the answer shows it
	f.lag()
	must(s.Put(t.Context(), "b", key, []byte("2"), WriteOptions{}))
	wantValueOne(t, c, "1")
	wantSession(t, f, s, "2", 2)
	wantSession(t, f, s, "2", 2) // the replica is still behind what was seen
	f.lag()
	wantSession(t, f, s, "2", 1)
	put(t, c, "k", "3") // of somebody else: it is seen sometime
	wantSession(t, f, s, "2", 1)
	f.lag()
	wantSession(t, f, s, "3", 1)

	must(s.Put(t.Context(), "b", key, []byte("4"), WriteOptions{}))
	put(t, c, "k", "5")
	f.lag()
	wantSession(t, f, s, "5", 2) // has replaced it; only a majority can say that
	wantSession(t, f, s, "5", 1)

	if old, err := s.Delete(t.Context(), "b", key, WriteOptions{}); err != nil || string(old.Value) != "5" {
		t.Fatal(old, err)
	}
	wantValueOne(t, c, "5")
	wantSession(t, f, s, "", 2)
	f.lag()
	wantSession(t, f, s, "", 1)

	must(s.Put(t.Context(), "b", key, []byte("6"), WriteOptions{Expires: time.UnixMilli(1)}))
	must(s.Put(t.Context(), "b", key, []byte("7"), WriteOptions{}))
	wantSession(t, f, s, "7", 1) // of two writes an answer cannot show that it knows both: a majority is asked at once

	err := s.PutMany(t.Context(), "b", []Write{{Key: key, Value: []byte("8")}, {Key: []byte("other"), Value: []byte("9")}}, WriteOptions{})
	must(err)
	results, err := s.GetMany(t.Context(), "b", [][]byte{key, []byte("other"), []byte("none")}, one)
	if err != nil || string(results[0].Value) != "8" || string(results[1].Value) != "9" || !errors.Is(results[2].Err, ErrNotFound) {
		t.Errorf("%+v, %v", results, err)
	}
	if err := s.Put(t.Context(), "b", nil, nil, WriteOptions{}); !errors.Is(err, &Error{Code: wire.BadRequest}) {
		t.Error(err)
	}
	if _, err := s.Get(t.Context(), "b", nil, one); !errors.Is(err, &Error{Code: wire.BadRequest}) {
		t.Error(err)
	}
}

// wantValueOne reads what the node that is asked first has.
func wantValueOne(t *testing.T, c *Client, want string) {
	t.Helper()
	obj, err := c.Get(t.Context(), "b", []byte("k"), one)
	if err != nil || string(obj.Value) != want {
		t.Fatalf("one replica has %q, %v; want %q", obj.Value, err, want)
	}
}

// Writes of a Session wait for a majority, or for more if they are asked to.
func TestSessionsWritesAreStrong(t *testing.T) {
	for _, n := range []int{1, 3} {
		f := newCluster(t, 3, n)
		var quorums []Quorum
		f.setRefuse(func(_ *node, fr *wire.Frame) (wire.Code, string) {
			if call, err := wire.ParseCall(fr.Body); err == nil && fr.Op == wire.OpCommand {
				quorums = append(quorums, call.Primary)
			}
			return wire.OK, ""
		})
		s := f.client().Session()
		for _, pw := range []Quorum{0, One, 2, 3, Majority, All} {
			if err := s.Put(t.Context(), "b", []byte("k"), nil, WriteOptions{PW: pw}); err != nil {
				t.Fatal(err)
			}
		}
		want := []Quorum{Majority, Majority, Majority, 3, Majority, All}
		if n == 1 {
			want = []Quorum{0, One, 2, 3, Majority, All}
		}
		if !slices.Equal(quorums, want) {
			t.Errorf("n=%d: %v", n, quorums)
		}
	}
}

// When a majority knows less than was seen all are asked, and their word counts: what has
// expired or was deleted leaves no trace in the end. If they cannot be reached the read fails.
func TestSessionSeesWhatIsGoneForGood(t *testing.T) {
	f := newCluster(t, 3, 3)
	c := f.client()
	s := c.Session()
	clear := func() {
		f.mu.Lock()
		clear(f.data)
		f.mu.Unlock()
	}
	put(t, c, "k", "1")
	wantSession(t, f, s, "1", 1)
	clear()
	f.setRefuse(func(_ *node, fr *wire.Frame) (wire.Code, string) {
		if call, err := wire.ParseCall(fr.Body); err == nil && call.Primary == All {
			return wire.QuorumNotMet, "reached 2 of 3"
		}
		return wire.OK, ""
	})
	if _, err := s.Get(t.Context(), "b", []byte("k"), one); !errors.Is(err, ErrQuorum) {
		t.Errorf("all replicas are needed: %v", err)
	}
	f.setRefuse(nil)
	wantSession(t, f, s, "", 3)
	wantSession(t, f, s, "", 1)

	if err := c.Put(t.Context(), "b", []byte("k"), []byte("2"), WriteOptions{Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	wantSession(t, f, s, "2", 1)
	f.mu.Lock()
	for k, r := range f.data { // as the nodes' clocks say
		f.data[k] = codec.Result{State: codec.Deleted, Stamp: r.Stamp}
	}
	f.mu.Unlock()
	wantSession(t, f, s, "", 1)
	clear()
	wantSession(t, f, s, "", 1)
}

// Whatever a Session forgets, it reads what it has written.
func TestSessionForgets(t *testing.T) {
	f := newCluster(t, 3, 3)
	s := f.client().Session()
	s.most = 10 * memoryBytes
	f.lag()
	keys, writes := batchOf(200)
	if err := s.PutMany(t.Context(), "b", writes, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := len(s.young) + len(s.old); !s.forgetful || n > 22 {
		t.Errorf("remembers %d keys", n)
	}
	for range 2 {
		results, err := s.GetMany(t.Context(), "b", keys, one)
		if err != nil {
			t.Fatal(err)
		}
		for i := range results {
			if string(results[i].Value) != fmt.Sprint("value ", i) {
				t.Fatalf("%s: %q", keys[i], results[i].Value)
			}
		}
	}
}

func TestSessionFromManyGoroutines(t *testing.T) {
	f := newCluster(t, 3, 3)
	s := f.client().Session()
	s.most = 5 * memoryBytes
	f.lag()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			key := fmt.Appendf(nil, "key %d", i)
			for j := range 50 {
				want := fmt.Sprint(j)
				if err := s.Put(t.Context(), "b", key, []byte(want), WriteOptions{}); err != nil {
					t.Error(err)
				}
				if got, err := s.Get(t.Context(), "b", key, one); err != nil || string(got.Value) != want {
					t.Errorf("%q, %v; want %q", got.Value, err, want)
				}
				if _, err := s.Get(t.Context(), "b", []byte("key 0"), one); err != nil && !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// sessionModel is a key with three copies, which a Session and others use.
type sessionModel struct {
	t      *rapid.T
	s      *Session
	copies [3]codec.Stored
	clock  uint64
	acked  []codec.Context // of the Session's writes
	shown  []codec.Context
	last   codec.Context
	// The last read showed no value; how many of acked were made before it.
	gone    bool
	settled int
}

// write writes at a copy, and to a majority of them if it is acknowledged.
func (m *sessionModel) write(acked bool) (codec.Context, uint64) {
	m.clock += 2
	at, id := rapid.IntRange(0, 2).Draw(m.t, "copy"), m.clock
	stamp := wire.Stamp{Time: m.clock, Node: uint64(at), ID: id}
	seen, r := codec.Context{Base: stamp}, codec.Stored{Stamp: stamp, Deleted: true}
	switch rapid.IntRange(0, 3).Draw(m.t, "kind") {
	case 0:
		r = codec.Stored{Stamp: stamp, Value: codec.AppendEnvelope(nil, &codec.Envelope{Value: []byte("v")})}
	case 1:
	default:
		o := m.object(m.copies[at])
		if rapid.Bool().Draw(m.t, "with context") {
			o.Forget(m.last)
		}
		dot := codec.Dot{Actor: uint64(at), Time: m.clock}
		o.Put(codec.Sibling{Dot: dot, ID: id})
		r = codec.StoredObject(stamp, &o)
		alone := codec.Object{}
		alone.Put(codec.Sibling{Dot: dot, ID: id})
		seen = alone.Context()
	}
	to := []int{at}
	if acked {
		to = append(to, (at+rapid.IntRange(1, 2).Draw(m.t, "other"))%3)
	}
	for _, i := range to {
		m.copies[i] = codec.Merge(m.copies[i], r)
	}
	return seen, id
}

func (m *sessionModel) object(r codec.Stored) codec.Object {
	o, err := r.Object()
	if err != nil {
		m.t.Fatal(err)
	}
	return o
}

// answer is what so many copies answer.
func (m *sessionModel) answer(by strength) codec.Result {
	var replies [][]byte
	first := rapid.IntRange(0, 2).Draw(m.t, "first")
	for i := range int(by) + 1 {
		r := m.copies[(first+i)%3]
		res := codec.Result{State: codec.Versions, Stamp: r.Stamp}
		switch {
		case r.Stamp.IsZero():
			res.State = codec.Absent
		case r.IsObject():
			res.Object = m.object(r)
		case r.Deleted:
			res.State = codec.Deleted
		default:
			res.State = codec.Live
		}
		replies = append(replies, codec.AppendResult(nil, &res))
	}
	b, err := codec.Resolve(replies)
	if err != nil {
		m.t.Fatal(err)
	}
	r, err := codec.ParseResult(b)
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

// read reads as a Session does, while others may do something, and holds what it promises.
func (m *sessionModel) read(depth int) {
	acked, shown, gone, settled := len(m.acked), len(m.shown), m.gone, m.settled
	x := m.s.begin(0, ring.HashKey("b", []byte("k")), &one, 3)
	for {
		for rapid.IntRange(0, 3).Draw(m.t, "meanwhile") == 0 {
			m.step(depth + 1)
		}
		r := m.answer(x.by)
		if !x.known.satisfied(&r, x.by, time.Now()) {
			x.ask(x.by+1, &one, 3)
			continue
		}
		m.s.learn(&x, &r)
		got := r.Context()
		asGone := gone && !r.Exists() // it was seen to be, so all before it may leave no trace
		for i, c := range m.acked[:acked] {
			if !got.Includes(c) && !(asGone && i < settled) {
				m.t.Fatalf("%+v was acknowledged; shown is %+v", c, got)
			}
		}
		for _, c := range m.shown[:shown] {
			if !got.Includes(c) && !asGone && !m.s.forgetful {
				m.t.Fatalf("%+v was shown; now it is %+v", c, got)
			}
		}
		switch { // reads at the same time may have shown something else
		case !slices.ContainsFunc(m.shown, func(c codec.Context) bool { return !got.Includes(c) }):
			m.gone, m.settled = !r.Exists(), max(acked, m.settled)
		case !slices.ContainsFunc(m.shown, func(c codec.Context) bool { return c.Includes(got) }):
			m.gone = false
		}
		m.shown, m.last = append(m.shown, got), got
		return
	}
}

func (m *sessionModel) step(depth int) {
	switch rapid.IntRange(0, 5).Draw(m.t, "step") {
	case 0, 1:
		seen, id := m.write(true)
		m.s.wrote(ring.HashKey("b", []byte("k")), id)
		m.acked = append(m.acked, seen)
	case 2:
		m.write(rapid.Bool().Draw(m.t, "acknowledged"))
	case 3:
		a, b := rapid.IntRange(0, 2).Draw(m.t, "from"), rapid.IntRange(0, 2).Draw(m.t, "to")
		m.copies[b] = codec.Merge(m.copies[b], m.copies[a])
	case 4:
		for range rapid.IntRange(1, 10).Draw(m.t, "other keys") {
			m.clock++
			m.s.wrote(ring.HashKey("b", fmt.Append(nil, m.clock)), 1)
		}
	default:
		if depth < 2 {
			m.read(depth)
		}
	}
}

// Whatever is written by whom and of which kind, and whichever copies answer: a read of a
// Session shows its writes that were acknowledged before it began, and all that its reads
// before had shown.
func TestSessionPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &sessionModel{t: t, s: (&Client{}).Session()}
		m.s.most = memoryBytes * rapid.SampledFrom([]int{3, 1000}).Draw(t, "memory")
		for i := range m.copies {
			m.copies[i].Deleted = true
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			m.step(0)
		}
	})
}
