package dataplane

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Bounds of read repair.
const (
	repairsQueued  = 1024                   // more are dropped: another read, or anti-entropy, finds the difference again
	repairsAtOnce  = 4                      // goroutines, while there is something to do
	repairAfter    = 100 * time.Millisecond // replicas mostly differ because a write is under way: it settles meanwhile
	repairPatience = 2 * time.Second        // for the answers of all replicas, twice in a repair
)

// Reconciler compares what replicas hold. Its method may be called from any goroutine.
type Reconciler interface {
	// Reconcile takes the records that some replicas of p have read for one query, each
	// replica's as it answers an OpRead with FlagRecords. It returns, in the same order,
	// the effect that brings each what it lacks; nil if that is nothing.
	Reconcile(service uint32, p ring.Partition, records [][]byte) (effects [][]byte, err error)
}

// RepairCounts say what read repair has done.
type RepairCounts struct {
	Compared int64 // reads whose replicas differed and were compared
	Dropped  int64 // such reads beyond the queue's bound
	Brought  int64 // replicas that lacked something and have it now
}

// readRepair makes equal, off the requests' path, what reads have found to differ: the
// readable slots whose nodes are up are asked for the records that the query reads, and
// get what they lack. Fallbacks keep hints and are no part of this. A repair reads
// nothing on behalf of a caller, so it never begets another.
type readRepair struct {
	r   *Router
	rec Reconciler // nil: no read repair

	mu      sync.Mutex          // held to add or take a repair
	queue   []*repair           // the oldest first
	keys    map[string]struct{} // of those queued or under way: once each
	running int

	compared, dropped, brought atomic.Int64
}

// repair is one query whose replicas are to be made equal.
type repair struct {
	key  string // of keys
	head wire.Header
	call wire.Call
	info wire.ServiceInfo
	due  time.Time
}

// Repairs says what read repair has done since the Router was made.
func (r *Router) Repairs() RepairCounts {
	x := &r.repairs
	return RepairCounts{Compared: x.compared.Load(), Dropped: x.dropped.Load(), Brought: x.brought.Load()}
}

// note makes a repair of o, whose replicas have given different answers; nil if none is
// needed. It copies what the caller of o may change once it has been answered.
func (x *readRepair) note(o *operation) *repair {
	if x.rec == nil {
		return nil
	}
	call := o.call
	call.Key, call.Body = bytes.Clone(call.Key), bytes.Clone(call.Body)
	key := strings.Join([]string{o.info.Name, call.Bucket, string(call.Key)}, "\x00")
	return &repair{
		key: key, call: call, info: o.info, due: time.Now().Add(repairAfter),
		head: wire.Header{Kind: wire.KindRequest, Service: o.service},
	}
}

// add queues p, if it is not nil. It does not block.
func (x *readRepair) add(p *repair) {
	if p == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.keys[p.key]; known {
		return
	}
	if len(x.queue) >= repairsQueued {
		x.dropped.Add(1)
		return
	}
	if x.running < repairsAtOnce {
		if !x.r.spawn(x.run) {
			return
		}
		x.running++
	}
	if x.keys == nil {
		x.keys = make(map[string]struct{})
	}
	x.keys[p.key] = struct{}{}
	x.queue = append(x.queue, p)
}

// run repairs until there is nothing left or the Router closes.
func (x *readRepair) run() {
	for p := x.next(nil); p != nil; p = x.next(p) {
		if !x.r.sleep(time.Until(p.due), p.due) {
			continue
		}
		x.repair(p)
	}
}

// next forgets the repair that was done, and takes the oldest one; nil if there is none:
// then the caller must end.
func (x *readRepair) next(done *repair) *repair {
	x.mu.Lock()
	defer x.mu.Unlock()
	if done != nil {
		delete(x.keys, done.key)
	}
	if len(x.queue) == 0 {
		x.running--
		return nil
	}
	p := x.queue[0]
	x.queue = x.queue[1:]
	return p
}

// repair compares what the replicas hold now, which may be the same by now, and sends
// each what it lacks.
func (x *readRepair) repair(p *repair) {
	g := x.r.rings.Ring()
	part := ring.Locate(ring.HashKey(p.call.Bucket, p.call.Key), g.Q())
	p.head.Partition, p.head.Gen, p.head.Epoch = uint16(part), uint64(g.Gen(part)), uint64(g.Epoch)
	read := wire.AppendCall(nil, &p.call)
	var asked []share
	for i, s := range g.Replicas(part, p.info.N) {
		if !s.CatchingUp && x.r.up(s.Node) {
			asked = append(asked, share{slot: uint8(i), node: s.Node, body: read})
		}
	}
	p.head.Op, p.head.Flags = wire.OpRead, wire.FlagRecords
	x.exchange(p, asked)
	var records [][]byte
	answered := asked[:0]
	for _, s := range asked {
		if s.code == wire.OK {
			records, answered = append(records, s.reply), append(answered, s)
		}
	}
	if len(answered) < 2 {
		return
	}
	effects, err := x.rec.Reconcile(p.head.Service, part, records)
	if err != nil {
		x.r.log.Warn("replicas not compared after a read", "service", p.info.Name, "partition", part, "err", err)
		return
	}
	x.compared.Add(1)
	for i := range answered {
		answered[i].body = effects[i]
	}
	p.head.Op, p.head.Flags = wire.OpEffect, 0
	x.exchange(p, answered)
	for _, s := range answered {
		if s.code == wire.OK {
			x.brought.Add(1)
		}
	}
}

// share is one replica's part in a repair.
type share struct {
	slot  uint8
	node  ring.NodeID
	body  []byte // what it is asked, or sent; nil for nothing
	code  wire.Code
	reply []byte
}

// exchange sends each replica its body and waits until all have answered, but not for
// long.
func (x *readRepair) exchange(p *repair, with []share) {
	until := time.Now().Add(repairPatience)
	ctx, cancel := context.WithDeadline(x.r.stop, until)
	defer cancel()
	type answer struct {
		i     int
		code  wire.Code
		reply []byte
	}
	answers := make(chan answer, len(with)) // whoever answers late finds room, and nobody who reads it
	open := 0
	for i := range with {
		with[i].code, with[i].reply = wire.Maybe, nil
		if with[i].body == nil {
			continue
		}
		open++
		h := p.head
		h.Slot = with[i].slot
		x.r.ask(with[i].node, h, &p.call, with[i].body, until, func(code wire.Code, _ uint64, reply []byte) { answers <- answer{i, code, reply} })
	}
	for ; open > 0; open-- {
		select {
		case a := <-answers:
			with[a.i].code, with[a.i].reply = a.code, a.reply
		case <-ctx.Done():
			return
		}
	}
}
