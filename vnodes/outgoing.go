package vnodes

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// outgoing gathers records in the form of a chunk's body (see AppendWrites), and
// flushes them when they are many. Nothing is allocated for a record: the body is
// used again when flush has returned.
type outgoing struct {
	limit int
	flush func(*outgoing) error
	turns *bulk           // in which chunks are made; nil: writers wait for them
	ctx   context.Context // of waiting for a turn

	buf     []byte // room for the count, then the writes
	last    []byte // key of the last record
	records int
	bytes   int // of keys and values
	err     error

	inTurn bool
	began  time.Time // of the turn
}

// add has the shape of Store.Ascend's callback; false after an error.
func (o *outgoing) add(key []byte, r Record) bool {
	if o.turns != nil && !o.inTurn {
		if o.began, o.inTurn = o.turns.begin(o.ctx); !o.inTurn {
			o.err = o.ctx.Err()
			return false
		}
	}
	if len(o.buf) == 0 {
		o.buf = append(o.buf[:0], make([]byte, binary.MaxVarintLen64)...)
	}
	o.buf = appendWrite(o.buf, key, &r)
	o.last = append(o.last[:0], key...)
	o.records++
	o.bytes += len(key) + len(r.Value)
	if o.bytes+64*o.records >= o.limit { // about what they take in memory at the other side
		o.out()
	}
	return o.err == nil
}

// body is the chunk; no record, no chunk but one that says so.
func (o *outgoing) body() []byte {
	if o.records == 0 {
		return AppendWrites(nil, nil)
	}
	var count [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(count[:], uint64(o.records))
	b := o.buf[binary.MaxVarintLen64-n:]
	copy(b, count[:n])
	return b
}

func (o *outgoing) out() {
	if o.inTurn { // to send takes as long as the target likes
		o.turns.end(o.ctx, o.began)
		o.inTurn = false
	}
	if o.err == nil && o.records > 0 {
		o.err = o.flush(o)
	}
	o.buf, o.records, o.bytes = o.buf[:0], 0, 0
}

// end flushes the rest and returns the first error. It must be called.
func (o *outgoing) end() error {
	o.out()
	return o.err
}

// fold sends every record that was durable when it passes, from where the target has
// acknowledged them on. What changes meanwhile is in the tail.
func (h *handing) fold(ctx context.Context, x *part) error {
	if x.whole {
		return nil
	}
	v := x.v
	if err := v.store.Sync(); err != nil { // what was appended before the tail began
		return err
	}
	var from []byte
	if x.folded == nil {
		h.d.total.Add(v.store.Digest().Records)
	} else {
		from = append(bytes.Clone(x.folded), 0)
	}
	sent := x.folded != nil
	o := outgoing{limit: h.m.cfg.ChunkBytes, turns: h.m.bulk, ctx: ctx, flush: func(o *outgoing) error {
		if err := h.send(ctx, v, o); err != nil {
			return err
		}
		sent = true
		key := bytes.Clone(o.last)
		h.onAck(func() { x.folded = key })
		return nil
	}}
	err := v.store.Ascend(from, o.add)
	if err = errors.Join(err, o.end()); err != nil {
		return err
	}
	if sent && h.d.session.Kind != ring.StepDrop {
		if err := h.send(ctx, v, &o); err != nil { // of nothing: all is sent that comes in the order of the keys
			return err
		}
	}
	h.onAck(func() { x.whole = true })
	return nil
}

// send sends a chunk to every target.
func (h *handing) send(ctx context.Context, v *vnode, o *outgoing) error {
	if err := h.m.passed(wire.SourceChunk); err != nil {
		return err
	}
	if !h.sealed && !h.m.outRate.pass(ctx, o.bytes*len(h.pipes)) {
		return ctx.Err()
	}
	body := o.body()
	for _, p := range h.pipes {
		if err := p.chunk(v.svc.id, body); err != nil {
			return err
		}
	}
	h.d.records.Add(int64(o.records))
	h.d.bytes.Add(int64(o.bytes))
	return nil
}

// sendTails sends the records whose keys changed since the last call and returns
// how many they were. Unless sealed, it waits until the targets have all of them.
func (h *handing) sendTails(ctx context.Context) (int, error) {
	total := 0
	for _, x := range h.parts {
		keys := x.tail.take()
		maps.Copy(x.taken, keys)
		total += len(keys)
		if err := x.v.store.Sync(); err != nil { // then every key's record is durable
			return 0, err
		}
		o := outgoing{limit: h.m.cfg.ChunkBytes, flush: func(o *outgoing) error { return h.send(ctx, x.v, o) }}
		for k := range keys {
			r, ok, err := x.v.store.Get([]byte(k))
			if err != nil {
				return 0, err
			}
			if ok && !o.add([]byte(k), r) {
				break
			}
		}
		if err := o.end(); err != nil {
			return 0, err
		}
	}
	if h.sealed {
		return total, nil
	}
	for _, p := range h.pipes {
		if err := p.drain(); err != nil {
			return 0, err
		}
	}
	for _, x := range h.parts {
		clear(x.taken)
	}
	return total, nil
}
