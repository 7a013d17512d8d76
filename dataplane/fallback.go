package dataplane

import (
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// A fallback stands in for a node that is down. With one replica it serves what it
// holds; with several it keeps the effects that the slot misses, its hints.

// appendHint appends the body of an OpEffect with FlagFallback to dst.
//
//	u8 len, for | rest: effect
func appendHint(dst []byte, node ring.NodeID, effect []byte) []byte {
	dst = append(dst, byte(len(node)))
	dst = append(dst, node...)
	return append(dst, effect...)
}

// parseHint undoes appendHint; effect shares b's memory.
func parseHint(b []byte) (node string, effect []byte, err error) {
	if len(b) < 1 || len(b) < 1+int(b[0]) || b[0] == 0 {
		return "", nil, wire.ErrBody
	}
	n := int(b[0])
	return string(b[1 : 1+n]), b[1+n:], nil
}

// fallbackFor is the node that stands in for node in a slot of p's first k, given
// which nodes are up; empty if every up node has a slot itself.
func fallbackFor(g *ring.Ring, p ring.Partition, k int, node ring.NodeID, up func(ring.NodeID) bool) ring.NodeID {
	for _, t := range g.PreferencesOf(p, k, up).Targets {
		if t.Fallback && t.For == node {
			return t.Node
		}
	}
	return ""
}

// askFallback passes an operation on one replica to the node that stands in for
// the owner; false if none may. A command that reads what it replaces needs what
// only the owner knows.
func (o *operation) askFallback() bool {
	if o.info.N != 1 || o.stoodIn || o.noHop() || !o.repeatable() || o.call.Flags&wire.CallStrict != 0 {
		return false
	}
	owner := o.slots[0].Node
	node := fallbackFor(o.ring, o.part, 1, owner, func(n ring.NodeID) bool { return n != owner && o.r.up(n) })
	if owner == o.r.self || node == "" {
		return false
	}
	o.stoodIn = true
	call := o.call
	call.For = string(owner)
	if node == o.r.self {
		o.standIn(call)
	} else {
		o.send(node, wire.FlagFallback, wire.AppendCall(nil, &call), o.answered)
	}
	return true
}

// standInAsked runs an operation for which another router takes this node for the
// owner's fallback.
func (o *operation) standInAsked() {
	owner := ring.NodeID(o.call.For)
	switch {
	case o.slots[0].Node != owner && o.epoch > o.ring.Epoch:
		o.decline(-1)
	case o.slots[0].Node != owner || o.info.N != 1:
		o.settle(wire.Moved, message("node %s does not own partition %d alone", owner, o.part))
	case owner == o.r.self || o.r.up(owner):
		o.settle(wire.OwnerUp, message("node %s can be reached from its fallback", owner))
	default:
		o.standIn(o.call)
	}
}

// standIn runs the operation on what this node holds for the owner, call.For.
func (o *operation) standIn(call wire.Call) {
	req := &wire.Request{
		Op: wire.OpCommand, Service: o.service, Partition: uint16(o.part), Flags: wire.FlagFallback,
		Gen: uint64(o.ring.Gen(o.part)), Epoch: uint64(o.ring.Epoch),
		Call: call, For: call.For, Deadline: o.deadline, Caller: o,
		Done: func(code wire.Code, epoch uint64, body []byte) {
			if o.noHop() {
				o.settle(code, body)
				return
			}
			o.answered(o.r.self, code, epoch, body)
		},
	}
	if o.op == wire.OpQuery {
		req.Op = wire.OpRead
	}
	o.r.dispatch(req, o.parent(), wire.SpanInside, "")
}
