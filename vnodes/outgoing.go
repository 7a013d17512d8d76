package vnodes

import (
	"encoding/binary"
)

// outgoing gathers records in the form of a chunk's body (see AppendWrites), and
// flushes them when they are many. Nothing is allocated for a record: the body is
// used again when flush has returned.
type outgoing struct {
	limit int
	flush func(*outgoing) error

	buf     []byte // room for the count, then the writes
	last    []byte // key of the last record
	records int
	bytes   int // of keys and values
	err     error
}

// add has the shape of Store.Ascend's callback; false after an error.
func (o *outgoing) add(key []byte, r Record) bool {
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
	if o.err == nil && o.records > 0 {
		o.err = o.flush(o)
	}
	o.buf, o.records, o.bytes = o.buf[:0], 0, 0
}

// end flushes the rest and returns the first error.
func (o *outgoing) end() error {
	o.out()
	return o.err
}
