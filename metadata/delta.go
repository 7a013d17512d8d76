package metadata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"reflect"
	"slices"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// historyKept is how many States a Store remembers to tell others what has changed
// since. They share what has not.
const historyKept = 64

// delta is what has changed between two States. Most of a State is one entry for each
// member, slot or ended transfer, and each change goes to each member: whole States
// would make the bytes of a change grow with the square of the members.
type delta struct {
	Base    ring.Epoch  `json:"base"` // the State that it changes
	Rest    *State      `json:"rest"` // without members, ring and ended transfers, and without what Same names
	Members []Member    `json:"members,omitempty"`
	Slots   []slotDelta `json:"slots,omitempty"`
	Ended   []Ended     `json:"ended,omitempty"` // behind those of the base
	Same    []string    `json:"same,omitempty"`  // other fields that are as in the base
	Sum     uint32      `json:"sum"`             // CRC-32C of the whole State's encoding
}

// slotDelta is a partition's list that has changed.
type slotDelta struct {
	Partition ring.Partition `json:"p"`
	ring.Assignment
}

// The fields that Same may name.
const (
	sameTarget  = "target"
	sameFloors  = "floors"
	sameBuckets = "buckets"
)

// deltaTo is what makes next of s; false if that cannot be told shortly.
func (s *State) deltaTo(next *State) (*delta, bool) {
	if s.Ring.Q() != next.Ring.Q() || s.Ring.N != next.Ring.N {
		return nil, false
	}
	whole, err := next.Encode()
	if err != nil {
		return nil, false
	}
	rest := *next
	rest.Ring, rest.Members, rest.Ended, rest.Recent = nil, nil, nil, nil
	d := &delta{Base: s.Epoch, Rest: &rest, Sum: crc32.Checksum(whole, castagnoli)}
	for _, m := range next.Members {
		if old, ok := s.Member(m.ID); !ok || !reflect.DeepEqual(old, m) {
			d.Members = append(d.Members, m)
		}
	}
	for p, a := range next.Ring.Assignments {
		if old := s.Ring.Assignments[p]; old.Gen != a.Gen || !slices.Equal(old.Replicas, a.Replicas) {
			d.Slots = append(d.Slots, slotDelta{ring.Partition(p), a})
		}
	}
	for _, e := range next.Ended {
		if e.Epoch > s.Epoch {
			d.Ended = append(d.Ended, e)
		}
	}
	if reflect.DeepEqual(s.Target, next.Target) {
		rest.Target, d.Same = nil, append(d.Same, sameTarget)
	}
	if reflect.DeepEqual(s.Floors, next.Floors) {
		rest.Floors, d.Same = nil, append(d.Same, sameFloors)
	}
	if reflect.DeepEqual(s.Buckets, next.Buckets) {
		rest.Buckets, d.Same = nil, append(d.Same, sameBuckets)
	}
	return d, true
}

// with is the State that d makes of s. The sum says whether the two sides mean the same
// by it: a newer version may have fields that this one does not know.
func (s *State) with(d *delta) (*State, error) {
	if d.Base != s.Epoch || d.Rest == nil {
		return nil, fmt.Errorf("changes since epoch %d, have %d", d.Base, s.Epoch)
	}
	next := *d.Rest
	next.Members = s.Members
	for _, m := range d.Members {
		next.setMember(m)
	}
	r := s.Ring.WithEpoch(next.Epoch)
	r.Assignments = slices.Clone(r.Assignments)
	for _, x := range d.Slots {
		if int(x.Partition) >= r.Q() {
			return nil, fmt.Errorf("a change of partition %d of %d", x.Partition, r.Q())
		}
		r.Assignments[x.Partition] = x.Assignment
	}
	next.Ring, next.Ended = r, s.Ended
	if len(d.Ended) > 0 {
		next.Ended = slices.Concat(s.Ended, d.Ended)
		next.Ended = next.Ended[max(0, len(next.Ended)-endedKept(r.Q())):]
	}
	for _, same := range d.Same {
		switch same {
		case sameTarget:
			next.Target = s.Target
		case sameFloors:
			next.Floors = s.Floors
		case sameBuckets:
			next.Buckets = s.Buckets
		}
	}
	whole, err := next.Encode()
	if err != nil {
		return nil, err
	}
	if sum := crc32.Checksum(whole, castagnoli); sum != d.Sum {
		return nil, fmt.Errorf("the state of epoch %d has sum %08x, want %08x", next.Epoch, sum, d.Sum)
	}
	return &next, next.check()
}

// changesSince is what brings a member at epoch to the newest State, in JSON: a delta if
// it wants one and the Store remembers that epoch, else the whole State. Many watchers
// share one encoding.
func (s *Store) changesSince(epoch ring.Epoch, wanted bool) ([]byte, error) {
	st := s.State()
	s.mu.Lock()
	i := slices.IndexFunc(s.history, func(old *State) bool { return old.Epoch == epoch })
	var old *State
	if wanted && i >= 0 {
		old = s.history[i]
	}
	cached := s.deltas[epoch]
	s.mu.Unlock()
	if old == nil {
		return s.encoded(false)
	}
	if cached.to == st {
		return cached.body, nil
	}
	d, ok := old.deltaTo(st)
	if !ok {
		return s.encoded(false)
	}
	body, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.State() == st { // what publish has cleared stays cleared
		s.deltas[epoch] = encodedDelta{st, body}
	}
	return body, nil
}

// encodedDelta leads to State to.
type encodedDelta struct {
	to   *State
	body []byte
}

// remember keeps st for deltas; mu is held.
func (s *Store) remember(st *State) {
	s.history = append(s.history, st)
	if drop := len(s.history) - historyKept; drop > 0 {
		s.history = slices.Delete(s.history, 0, drop)
	}
	s.deltas = make(map[ring.Epoch]encodedDelta)
}

// learnChanges takes what changesSince has made. An error asks for a whole State.
func (s *Store) learnChanges(b []byte) error {
	if !bytes.HasPrefix(b, []byte(`{"base":`)) {
		return s.Learn(b)
	}
	var d delta
	if err := json.Unmarshal(b, &d); err != nil {
		return wire.Errorf(wire.BadRequest, "learn: %v", err)
	}
	have := s.State()
	if d.Rest != nil && d.Rest.Epoch <= have.Epoch {
		return nil
	}
	next, err := have.with(&d)
	if err != nil {
		return wire.Errorf(wire.BadRequest, "learn: %v", err)
	}
	s.publish(next)
	return nil
}
