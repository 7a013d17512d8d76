package vnodes

import (
	"encoding/binary"
	"fmt"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// minWrite is the length of the shortest write that AppendWrites makes.
const minWrite = 2 + 1 + wire.StampSize + 1

// AppendWrites appends the encoding of writes to dst: an effect's body, and a
// chunk's in handoff and hints.
//
//	uvarint count, then of each: uvarint len, key | flags u8 | stamp | uvarint len, value
func AppendWrites(dst []byte, writes []Write) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(writes)))
	for i := range writes {
		dst = appendWrite(dst, writes[i].Key, &writes[i].Record)
	}
	return dst
}

// effectSize is at least the length of what AppendWrites makes of writes.
func effectSize(writes []Write) int {
	return binary.MaxVarintLen32 + len(writes)*(2*binary.MaxVarintLen32+1+wire.StampSize) + bytesOf(writes)
}

func appendWrite(dst, key []byte, r *Record) []byte {
	dst = wire.AppendBytes(dst, key)
	dst = append(dst, byte(r.Flags))
	dst = r.Stamp.Append(dst)
	return wire.AppendBytes(dst, r.Value)
}

// ParseWrites reads what AppendWrites made, and nothing else: its errors wrap
// wire.ErrBody. Keys are not empty; keys and values share b's memory, and an
// empty value is nil.
func ParseWrites(b []byte) ([]Write, error) { return parseWrites([]Write{}, b) }

// parseWrites is ParseWrites, into the memory of writes if that is enough.
func parseWrites(writes []Write, b []byte) ([]Write, error) {
	n, width := binary.Uvarint(b)
	if width <= 0 {
		return nil, fmt.Errorf("count of writes: %w", wire.ErrBody)
	}
	b = b[width:]
	if n > uint64(len(b)/minWrite) {
		return nil, fmt.Errorf("%d writes in %d bytes: %w", n, len(b), wire.ErrBody)
	}
	if n > uint64(cap(writes)) {
		writes = make([]Write, n)
	}
	writes = writes[:n]
	var err error
	for i := range writes {
		if b, err = cutWrite(b, &writes[i]); err != nil {
			return nil, fmt.Errorf("write %d of %d: %w", i+1, n, err)
		}
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%d bytes behind the last write: %w", len(b), wire.ErrBody)
	}
	return writes, nil
}

// cutWrite reads the first write of b into w and returns what follows it.
func cutWrite(b []byte, w *Write) ([]byte, error) {
	key, b, ok := wire.CutBytes(b)
	if !ok || len(key) == 0 || len(b) < 1+wire.StampSize {
		return nil, wire.ErrBody
	}
	stamp, err := wire.ParseStamp(b[1:])
	if err != nil {
		return nil, err
	}
	flags := RecordFlags(b[0])
	value, b, ok := wire.CutBytes(b[1+wire.StampSize:])
	if !ok {
		return nil, wire.ErrBody
	}
	if len(value) == 0 {
		value = nil
	}
	*w = Write{Key: key, Record: Record{Stamp: stamp, Flags: flags, Value: value}}
	return b, nil
}
