package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ringcore/ringcore/metadata/ring"
	"github.com/ringcore/ringcore/vnodes/kv/codec"
)

// Session is a Client that reads what it has written, and never reads a key older than it
// has read it before: also with R: One, and when the node that it asked last is gone. What
// others write, through other Sessions, it sees as any Client does. It may be used from any
// goroutine, and need not be closed.
//
// A Session remembers for each key what it has seen (a causal context, not the value), and
// which of its writes no read has shown yet. A read asks as its options say. If the answer
// shows the write, or all that was seen, that is the result, at no further cost. Else it asks
// a majority of the key's replicas; and if those know less than was seen, all replicas.
// Their word counts. If so many cannot be reached, the read fails, with ErrQuorum for example.
//
// For that to be exact a write waits for a majority of the replicas, whatever its options and
// the bucket say: its PW is at least Majority. With one replica there is nothing to add, and
// a Session is just its Client.
//
// It remembers up to a mebibyte of keys, some thousands. When that is full it forgets those
// that were used longest ago, and from then on asks a majority for every key that it does not
// remember.
type Session struct {
	client *Client
	most   int // bytes of each half of what is remembered

	mu        sync.Mutex // held for a few instructions
	writes    uint64     // made so far, and one
	young     map[ring.Hash]memory
	old       map[ring.Hash]memory // those that were not used since young was empty
	bytes     int                  // of young
	forgetful bool                 // some are in neither
}

// sessionBytes is what a Session remembers in each half.
const (
	sessionBytes = 512 << 10
	memoryBytes  = 160 // about what a memory takes, without its dots
)

// memory is what a Session knows of a key.
type memory struct {
	seen  codec.Context // of all reads together
	until uint64        // the time in ms from which seen shows no value, if that comes; 1 if it shows none
	wrote uint64        // the number of the newest write that no read has shown; 0 if there is none
	id    uint64        // that write's; 0 if it is not known, or there are several
}

// Session begins a Session. It costs nothing before it is used.
func (c *Client) Session() *Session {
	return &Session{client: c, most: sessionBytes, writes: 1, young: map[ring.Hash]memory{}}
}

// strength is whose word an answer is.
type strength uint8

const (
	asAsked    strength = iota // as many replicas as the options say
	byMajority                 // of the replicas
	byAll                      // replicas that can be read
)

// sessionRead is a key that is being read.
type sessionRead struct {
	i     int // its place in the batch
	hash  ring.Hash
	known memory // when the read began
	began uint64 // the Session's writes then
	by    strength
	o     ReadOptions // for that strength
}

// Get is Client.Get, in the Session.
func (s *Session) Get(ctx context.Context, bucket string, key []byte, o ReadOptions) (Object, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline(ctx, o.Timeout, s.client.cfg.Timeout))
	defer cancel()
	var got Result
	s.read(ctx, bucket, [][]byte{key}, &o, func(_ int, r *codec.Result, err error) { got.set(r, err) })
	return got.Object, got.Err
}

// GetMany is Client.GetMany, in the Session. Keys that have to be asked for again are a
// batch of their own, with as much time again.
func (s *Session) GetMany(ctx context.Context, bucket string, keys [][]byte, o ReadOptions) ([]Result, error) {
	results, failed := make([]Result, len(keys)), failures{n: len(keys)}
	s.read(ctx, bucket, keys, &o, func(i int, r *codec.Result, err error) {
		results[i].set(r, err)
		failed.add(i, err)
	})
	return results, failed.asError()
}

// read reads keys until each answer is good enough for the Session. each is told once of
// every one.
func (s *Session) read(ctx context.Context, bucket string, keys [][]byte, o *ReadOptions, each func(i int, r *codec.Result, err error)) {
	n := s.client.view.Load().ring.N
	todo := make([]sessionRead, len(keys))
	for i, key := range keys {
		todo[i] = s.begin(i, ring.HashKey(bucket, key), o, n)
	}
	for len(todo) > 0 {
		var again []sessionRead
		at := func(k int) ([]byte, *ReadOptions) { return keys[todo[k].i], &todo[k].o }
		s.client.readMany(ctx, bucket, len(todo), o.Timeout, at, func(k int, r *codec.Result, err error) {
			x := &todo[k]
			switch {
			case err != nil && x.o.PR != o.PR:
				each(x.i, nil, fmt.Errorf("read what the session has seen or written: %w", err))
			case err != nil:
				each(x.i, nil, err)
			case x.known.satisfied(r, x.by, time.Now()):
				s.learn(x, r)
				each(x.i, r, nil)
			default:
				x.ask(x.by+1, o, n)
				again = append(again, *x)
			}
		})
		todo = again
	}
}

// begin is a read that begins now.
func (s *Session) begin(i int, hash ring.Hash, o *ReadOptions, n int) sessionRead {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := sessionRead{i: i, hash: hash, known: s.recall(hash), began: s.writes}
	switch {
	case n == 1:
		x.by, x.o = byAll, *o
	case x.known.wrote != 0 && x.known.id == 0:
		x.ask(byMajority, o, n) // no other answer will do
	default:
		x.ask(asAsked, o, n)
	}
	return x
}

// ask has so many be asked, of n, or more if o says so.
func (x *sessionRead) ask(by strength, o *ReadOptions, n int) {
	x.o, x.by = *o, by
	switch by {
	case byMajority:
		x.o.PR = majorityAtLeast(o.PR, n)
	case byAll:
		x.o.PR = All
	}
	switch x.o.PR { // o may ask for more than by
	case Majority:
		x.by = max(by, byMajority)
	case All:
		x.by = byAll
	}
}

// majorityAtLeast is q, or Majority if that is more.
func majorityAtLeast(q Quorum, n int) Quorum {
	if q == All || q < Majority && int(q) > ring.Majority(n) {
		return q
	}
	return Majority
}

// satisfied reports whether r, which so many have answered, is no older than m.
func (m *memory) satisfied(r *codec.Result, by strength, now time.Time) bool {
	switch {
	case by == byAll:
		return true
	case m.wrote != 0 && by == asAsked && (m.id == 0 || !r.Shows(m.id)):
		return false
	case r.Context().Includes(m.seen):
		return true
	}
	// What has gone for good leaves no trace in the end. That it is gone is what was seen.
	return m.until != 0 && m.until <= codec.Expiry(now) && !r.Exists()
}

// learn remembers what the read x has shown.
func (s *Session) learn(x *sessionRead, r *codec.Result) {
	seen, until := r.Context(), untilWhen(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.recall(x.hash)
	if m.wrote <= x.began {
		m.wrote, m.id = 0, 0
	}
	switch {
	case seen.Includes(m.seen), x.by == byAll && m.seen == x.known.seen:
		m.seen, m.until = seen, until
	case !m.seen.Includes(seen): // another read has been faster, and seen something else
		m.seen, m.until = m.seen.Join(seen), 0
	}
	s.keep(x.hash, m)
}

// untilWhen is the until of r.
func untilWhen(r *codec.Result) uint64 {
	until := uint64(1)
	for _, v := range r.Values() {
		if v.Expires == 0 {
			return 0
		}
		until = max(until, v.Expires)
	}
	return until
}

// wrote remembers a write that was acknowledged, by its id if it has one.
func (s *Session) wrote(hash ring.Hash, id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	m := s.recall(hash)
	if m.wrote != 0 {
		id = 0
	}
	m.wrote, m.id = s.writes, id
	s.keep(hash, m)
}

// recall is what is known of a key. Of one that may have been forgotten nothing is known but
// that there may be writes. mu is held.
func (s *Session) recall(hash ring.Hash) memory {
	if m, ok := s.young[hash]; ok {
		return m
	}
	if m, ok := s.old[hash]; ok {
		return m
	}
	if s.forgetful {
		return memory{wrote: s.writes}
	}
	return memory{}
}

// keep remembers m, in young. mu is held.
func (s *Session) keep(hash ring.Hash, m memory) {
	before, ok := s.young[hash]
	if !ok {
		s.bytes += memoryBytes
	}
	s.bytes += len(m.seen.Dots) - len(before.seen.Dots)
	s.young[hash] = m
	delete(s.old, hash)
	if s.bytes > s.most {
		s.forgetful = s.forgetful || len(s.old) > 0
		s.old, s.young, s.bytes = s.young, map[ring.Hash]memory{}, 0
	}
}
