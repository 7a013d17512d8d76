package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// Version is the protocol's version, in every header.
const Version = 1

// HeaderSize is the fixed length of an encoded Header in bytes.
const HeaderSize = 64

// MaxBody is the longest body that a reader accepts unless told otherwise: a
// value of 8 MiB, a key of 64 KiB and room for their wrapping.
const MaxBody = 9 << 20

// The first byte on a fresh connection says what it is for. A hello follows.
const (
	ConnRaft    byte = 'R' // raft's own stream, between voters
	ConnPeer    byte = 'P' // requests between nodes of one cluster, multiplexed
	ConnStream  byte = 'S' // one bulk conversation at a time between nodes: handoff, coverage
	ConnClient  byte = 'C' // requests of a client, multiplexed
	ConnStrange byte = 'J' // requests of a node that is no member yet: introduce, join
)

// Kind is the role of a frame in its conversation.
type Kind uint8

// The kinds.
const (
	KindRequest Kind = 1
	KindReply   Kind = 2
	KindChunk   Kind = 3 // one piece of a stream; more follow
	KindHello   Kind = 4 // first frame in each direction; JSON body, see Hello
)

// Flags modify an operation.
type Flags uint8

// The flags.
const (
	FlagFallback Flags = 1 << 0 // asked as a fallback for the node named in the body's For
	FlagFresh    Flags = 1 << 1 // an effect of a new write: may be answered Superseded
	FlagNoHop    Flags = 1 << 2 // the receiver must coordinate itself, not pass it on
	FlagLast     Flags = 1 << 3 // this chunk is the stream's last
	FlagHeld     Flags = 1 << 4 // the sender knows that another node may hold writes for the slot: its owner asks before it answers
	FlagAhead    Flags = 1 << 6 // with FlagFresh: the times count on from newer ones, whatever the clock says
	FlagRecords  Flags = 1 << 5 // with OpRead: answer with the records that the query reads, as an effect
	FlagSealed   Flags = 1 << 7 // a chunk of a handoff for which writers wait: no limit of speed holds it up
)

// Header precedes every body. It is drawn here as it lies in the 64 bytes, all
// integers big endian.
//
//	 0 version u8 | 1 kind u8 | 2 op u8 | 3 code u8 | 4 body length u32
//	 8 id u64                    (16 bytes)
//	16 cluster u32 | 20 service u32
//	24 partition u16 | 26 slot u8 | 27 flags u8 | 28 timeout ms u32   (32 bytes)
//	32 gen u64
//	40 epoch u64
//	48 sent ms u32 | 52 trailer u8 | 53 reserved, zero (7 bytes)
//	60 CRC-32C of bytes 0 to 59 and the body
//
// The trailer is so many bytes of the body, its last: a Trace. It is 0 but for those who say that they
// know it, see CapTrace; whoever does skips what is longer.
type Header struct {
	Kind      Kind
	Op        Op
	Code      Code // of a reply
	ID        uint64
	Cluster   uint32 // ClusterCheck of the cluster id; 0 on ConnStrange
	Service   uint32 // ServiceID of the service's name; 0 for none
	Partition uint16
	Slot      uint8
	Flags     Flags
	TimeoutMS uint32 // what is left of the deadline; 0 for none
	Gen       uint64 // of the partition, in the sender's ring
	Epoch     uint64 // of the sender's ring
	Sent      uint32 // of a request: when it was queued, on a clock of the sender's that never jumps; 0 if not told
	Trace     *Trace // of a request that is traced; nil for the others
}

// Frame is a header with its body.
type Frame struct {
	Header
	Body []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors of a stream that can no longer be trusted; the connection must close.
var (
	ErrVersion  = errors.New("frame of an unknown version")
	ErrTooLong  = errors.New("frame longer than allowed")
	ErrChecksum = errors.New("frame checksum does not match")
	ErrTrailer  = errors.New("frame trailer longer than its body")
)

// AppendFrame appends the encoding of h and body to dst.
func AppendFrame(dst []byte, h *Header, body []byte) []byte {
	start := len(dst)
	dst = append(dst, Version, byte(h.Kind), byte(h.Op), byte(h.Code))
	trailer := 0
	if h.Trace != nil {
		trailer = TraceSize
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)+trailer))
	dst = binary.BigEndian.AppendUint64(dst, h.ID)
	dst = binary.BigEndian.AppendUint32(dst, h.Cluster)
	dst = binary.BigEndian.AppendUint32(dst, h.Service)
	dst = binary.BigEndian.AppendUint16(dst, h.Partition)
	dst = append(dst, h.Slot, byte(h.Flags))
	dst = binary.BigEndian.AppendUint32(dst, h.TimeoutMS)
	dst = binary.BigEndian.AppendUint64(dst, h.Gen)
	dst = binary.BigEndian.AppendUint64(dst, h.Epoch)
	dst = binary.BigEndian.AppendUint32(dst, h.Sent)
	dst = append(dst, byte(trailer), 0, 0, 0, 0, 0, 0, 0)
	sum := crc32.Update(crc32.Checksum(dst[start:], castagnoli), castagnoli, body)
	if h.Trace == nil {
		dst = binary.BigEndian.AppendUint32(dst, sum)
		return append(dst, body...)
	}
	var t [TraceSize]byte
	appendTrace(t[:0], h.Trace)
	dst = binary.BigEndian.AppendUint32(dst, crc32.Update(sum, castagnoli, t[:]))
	return append(append(dst, body...), t[:]...)
}

// ReadFrame reads one frame. Its body is freshly allocated and at most maxBody
// long; the length is checked before anything is allocated.
func ReadFrame(r io.Reader, maxBody int) (Frame, error) {
	var buf [HeaderSize]byte
	if _, err := io.ReadFull(r, buf[:]); err != nil {
		return Frame{}, err
	}
	var f Frame
	n, err := f.parse(&buf, maxBody)
	if err != nil {
		return Frame{}, err
	}
	if n > 0 {
		f.Body = make([]byte, n)
		if _, err := io.ReadFull(r, f.Body); err != nil {
			return Frame{}, noEOF(err)
		}
	}
	sum := crc32.Update(crc32.Checksum(buf[:60], castagnoli), castagnoli, f.Body)
	if sum != binary.BigEndian.Uint32(buf[60:]) {
		return Frame{}, ErrChecksum
	}
	return f, f.cutTrailer(int(buf[52]))
}

// parse reads the header's fields and returns the body's length.
func (h *Header) parse(b *[HeaderSize]byte, maxBody int) (int, error) {
	if b[0] != Version {
		return 0, fmt.Errorf("%w: %d", ErrVersion, b[0])
	}
	n := binary.BigEndian.Uint32(b[4:])
	if int64(n) > int64(maxBody)+int64(b[52]) {
		return 0, fmt.Errorf("%w: %d bytes of at most %d", ErrTooLong, n, maxBody)
	}
	h.Kind, h.Op, h.Code = Kind(b[1]), Op(b[2]), Code(b[3])
	h.ID = binary.BigEndian.Uint64(b[8:])
	h.Cluster = binary.BigEndian.Uint32(b[16:])
	h.Service = binary.BigEndian.Uint32(b[20:])
	h.Partition = binary.BigEndian.Uint16(b[24:])
	h.Slot, h.Flags = b[26], Flags(b[27])
	h.TimeoutMS = binary.BigEndian.Uint32(b[28:])
	h.Gen = binary.BigEndian.Uint64(b[32:])
	h.Epoch = binary.BigEndian.Uint64(b[40:])
	h.Sent = binary.BigEndian.Uint32(b[48:])
	return int(n), nil
}

// noEOF turns the end of the stream inside a frame into io.ErrUnexpectedEOF.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Timeout is the header's time limit as a duration; 0 for none.
func (h *Header) Timeout() time.Duration { return time.Duration(h.TimeoutMS) * time.Millisecond }

// SetTimeout rounds d up to a whole millisecond; d <= 0 means that the deadline
// has passed and becomes 1 ms.
func (h *Header) SetTimeout(d time.Duration) {
	ms := int64((d + time.Millisecond - 1) / time.Millisecond)
	h.TimeoutMS = uint32(min(max(ms, 1), 1<<32-1))
}

// SentAt makes d, the time since the sender's clock began, the header's Sent. It wraps
// around after 49 days, which does no harm: only differences count.
func SentAt(d time.Duration) uint32 { return uint32(max(d.Milliseconds(), 1)) }

// ClusterCheck is the header's short form of a cluster id: FNV-1a, never 0.
func ClusterCheck(id string) uint32 { return fnv32(id) }

// ServiceID is the header's short form of a service's name: FNV-1a, never 0.
func ServiceID(name string) uint32 { return fnv32(name) }

func fnv32(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return max(h, 1)
}
