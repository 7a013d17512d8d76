package wire

import (
	"cmp"
	"encoding/binary"
	"time"
)

// Request is a request on its way to a vnode of this node, whichever door it
// came through: OpCommand and OpRead with a Call, OpEffect with an Effect.
type Request struct {
	Op        Op
	Service   uint32
	Partition uint16
	Flags     Flags
	Gen       uint64 // of the partition, in the ring that the request was planned with
	Epoch     uint64 // of that ring
	Call      Call   // OpCommand, OpRead
	Effect    []byte // OpEffect: opaque outside package vnodes
	For       string // with FlagFallback: the node id that is stood in for
	Deadline  time.Time
	Caller    Caller // OpCommand: may be nil
	Above     uint64 // OpCommand: what it writes is stamped above this time, which another replica holds
	Hasty     bool   // OpCommand: another replica may run it: it is not held until hints for this one have come

	// Ahead is set by the vnode before it calls OnEffect, if the times in the effect are
	// not its clock's but count on from newer ones: of a record, or from before a restart.
	Ahead bool
	// Retract is set with it: to be called, at most once and by anybody, when the other
	// replicas refuse those times. This copy then keeps the writes as just newer than what
	// they replaced, so that they hide nothing that is written elsewhere. It does not block.
	Retract func()
	// OnEffect, if set on an OpCommand, is called at most once, from the vnode's
	// worker, when the command has run and before its writes are durable: the effect
	// to be merged by the other replicas, and the command's reply. It is not called for a
	// command without writes. It must not block or keep the worker. The bytes are the callee's.
	OnEffect func(effect, reply []byte)
	// Done is called exactly once, from any goroutine, possibly before Dispatch returns;
	// it must not block. epoch is that of this node's ring, for Moved, Stale and Behind.
	// body is the callee's: the reply if code is OK, the encoded newer Stamp if
	// Superseded, else the message for people. For a command, OK means durable here.
	Done func(code Code, epoch uint64, body []byte)
}

// Caller is whoever waits for a command.
type Caller interface {
	// Forsaken reports whether a blind command must not take place any more, as others may
	// have done it, and newer ones, in its place. The vnode asks when it has stamped what the
	// command writes: who is stopped later than that has the stamp from before.
	Forsaken() bool
}

// ServiceInfo is what routing must know of a registered service.
type ServiceInfo struct {
	Name     string
	N        int  // replicas wanted, at least 1; a partition may have fewer slots
	Resolves bool // it can merge the replies of several replicas: R > 1 makes sense
	Blind    func(body []byte) bool
	// MergeItems makes one item of two versions that replicas have emitted under one key
	// in answer to the coverage query body; nil if the newest stamp wins. The result may
	// share the memory of both.
	MergeItems func(body []byte, a, b *Item) (Item, error)
	// MergeFold is the same for an OpFold.
	MergeFold func(body []byte, a, b *Item) (Item, error)
}

// CoverCall asks one vnode for its part of a coverage query, or of a fold. It is the body of
// an OpCover or OpFold on a stream connection, after the header's service, partition, gen.
//
//	u8 len, for | uvarint len, after | rest: body
type CoverCall struct {
	Service   uint32 // from the header
	Partition uint16
	Gen       uint64
	Epoch     uint64
	Fold      bool   // the operation is OpFold
	For       string // if set: the part that is kept as hints for this node, instead of the slot's own
	After     []byte // resume behind this item key; nil from the start
	Body      []byte // the service's own
}

// AppendCoverCall appends the body of c to dst.
func AppendCoverCall(dst []byte, c *CoverCall) []byte {
	dst = append(dst, byte(len(c.For)))
	dst = append(dst, c.For...)
	dst = AppendBytes(dst, c.After)
	return append(dst, c.Body...)
}

// ParseCoverCall reads a CoverCall from a request's header and body, whose memory it shares.
func ParseCoverCall(h *Header, b []byte) (CoverCall, error) {
	c := CoverCall{Service: h.Service, Partition: h.Partition, Gen: h.Gen, Epoch: h.Epoch, Fold: h.Op == OpFold}
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return c, ErrBody
	}
	n := int(b[0])
	c.For, b = string(b[1:1+n]), b[1+n:]
	after, rest, ok := CutBytes(b)
	if !ok {
		return c, ErrBody
	}
	if len(after) > 0 {
		c.After = after
	}
	c.Body = rest
	return c, nil
}

// Stamp orders the versions of one record: a hybrid logical clock's time, the
// node that issued it, the write's id. Time is milliseconds since 1970 shifted
// left by 16, plus a counter (Kulkarni et al., "Logical Physical Clocks", 2014).
type Stamp struct {
	Time uint64
	Node uint64 // the NodeID's 64 bits
	ID   uint64 // the write's id; the same in every retry of it
}

// StampSize is the length of an encoded Stamp in bytes.
const StampSize = 24

// Compare is negative if s is older than t, positive if newer.
func (s Stamp) Compare(t Stamp) int {
	return cmp.Or(cmp.Compare(s.Time, t.Time), cmp.Compare(s.Node, t.Node), cmp.Compare(s.ID, t.ID))
}

// IsZero reports whether s is no stamp at all.
func (s Stamp) IsZero() bool { return s == Stamp{} }

// Append appends the encoding of s to dst: three big-endian integers.
func (s Stamp) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, s.Time)
	dst = binary.BigEndian.AppendUint64(dst, s.Node)
	return binary.BigEndian.AppendUint64(dst, s.ID)
}

// ParseStamp reads a Stamp from the first StampSize bytes of b.
func ParseStamp(b []byte) (Stamp, error) {
	if len(b) < StampSize {
		return Stamp{}, ErrBody
	}
	return Stamp{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}, nil
}

// Item is one piece of a coverage answer. Its slices are valid only during the
// call that hands it over.
type Item struct {
	Key     []byte
	Stamp   Stamp // of the record it was made from
	Deleted bool  // made from a tombstone: outweighs older items of its key, and is not delivered
	Value   []byte
}

// AppendItem appends the encoding of it to dst; a chunk's body is a row of them.
//
//	uvarint len, key | stamp | u8 deleted | uvarint len, value
func AppendItem(dst []byte, it *Item) []byte {
	dst = AppendBytes(dst, it.Key)
	dst = it.Stamp.Append(dst)
	deleted := byte(0)
	if it.Deleted {
		deleted = 1
	}
	return AppendBytes(append(dst, deleted), it.Value)
}

// CutItem reads the first Item of b, sharing its memory, and returns what follows it.
func CutItem(b []byte) (Item, []byte, error) {
	key, b, ok := CutBytes(b)
	if !ok || len(b) < StampSize+1 {
		return Item{}, nil, ErrBody
	}
	it := Item{Key: key, Deleted: b[StampSize] != 0}
	it.Stamp, _ = ParseStamp(b)
	if it.Value, b, ok = CutBytes(b[StampSize+1:]); !ok {
		return Item{}, nil, ErrBody
	}
	return it, b, nil
}
