package codec

import (
	"encoding/binary"
	"time"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// AppendRecordKey appends to dst the key under which a vnode keeps the record of
// bucket and key. It is also what the ring hashes. All records of a bucket have
// the prefix AppendRecordKey(nil, bucket, nil), and lie in the order of their keys.
//
//	uvarint len, bucket | rest: key
func AppendRecordKey(dst []byte, bucket string, key []byte) []byte {
	return append(wire.AppendString(dst, bucket), key...)
}

// RecordKey is AppendRecordKey into memory of its own.
func RecordKey(bucket string, key []byte) []byte {
	return AppendRecordKey(make([]byte, 0, binary.MaxVarintLen16+len(bucket)+len(key)), bucket, key)
}

// SplitRecordKey undoes RecordKey.
func SplitRecordKey(record []byte) (bucket, key []byte, err error) {
	bucket, key, ok := wire.CutBytes(record)
	if !ok {
		return nil, nil, wire.Errorf(wire.Corrupt, "a record key of %d bytes holds no bucket", len(record))
	}
	return bucket, key, nil
}

// Envelope is a value as a record keeps it.
//
//	u8 flags: bit 0 expiry follows, others zero | [u64 expiry] | rest: value
type Envelope struct {
	Expires uint64 // milliseconds since 1970 from which on the value reads as absent; 0 for never
	Value   []byte
}

const flagExpires = 1 << 0

// Expired reports whether e is to be read as absent at the time nowMS.
func (e *Envelope) Expired(nowMS uint64) bool { return e.Expires != 0 && e.Expires <= nowMS }

// AppendEnvelope appends the encoding of e to dst.
func AppendEnvelope(dst []byte, e *Envelope) []byte {
	if e.Expires == 0 {
		dst = append(dst, 0)
	} else {
		dst = binary.BigEndian.AppendUint64(append(dst, flagExpires), e.Expires)
	}
	return append(dst, e.Value...)
}

// ParseEnvelope reads a stored value.
func ParseEnvelope(b []byte) (Envelope, error) {
	e, ok := cutEnvelope(b)
	if !ok {
		return Envelope{}, wire.Errorf(wire.Corrupt, "a stored value of %d bytes does not parse", len(b))
	}
	return e, nil
}

func cutEnvelope(b []byte) (Envelope, bool) {
	switch {
	case len(b) >= 1 && b[0] == 0:
		return Envelope{Value: b[1:]}, true
	case len(b) >= 9 && b[0] == flagExpires:
		e := Envelope{Expires: binary.BigEndian.Uint64(b[1:]), Value: b[9:]}
		return e, e.Expires != 0
	}
	return Envelope{}, false
}

// ExpiryTime is an Envelope's expiry as a time; zero for never.
func ExpiryTime(ms uint64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(min(ms, 1<<63-1)))
}

// Expiry is t as an Envelope's expiry: the zero time is never.
func Expiry(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.UnixMilli(), 1)) // 0 would mean never
}
