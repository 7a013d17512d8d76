package wire

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// eagerBody is the longest body whose memory is allocated on the word of its
// header alone. A longer one grows as its bytes arrive, so that a header costs
// its sender more than it costs the reader.
const eagerBody = 256 << 10

// Sizes of a Reader's memory.
const (
	readBuffer = 64 << 10
	slabSize   = 8 << 10 // short bodies share memory, so that an allocation serves many
	slabBody   = 512     // the longest that does
)

// Reader reads the frames of one connection, as many as one system call brings. One
// goroutine at a time may use it.
type Reader struct {
	r        io.Reader
	maxBody  int
	buf      []byte
	from, to int    // of buf, what was read and not yet handed out
	slab     []byte // what is left for short bodies
}

// NewReader reads from r frames whose bodies are at most maxBody bytes long. It buffers.
func NewReader(r io.Reader, maxBody int) *Reader {
	return &Reader{r: r, maxBody: maxBody, buf: make([]byte, readBuffer)}
}

// Ready reports whether Read has a whole frame without reading more.
func (r *Reader) Ready() bool {
	have := r.to - r.from
	return have >= HeaderSize && int64(have-HeaderSize) >= int64(binary.BigEndian.Uint32(r.buf[r.from+4:]))
}

// Read is ReadFrame. After an error the stream can no longer be trusted; io.EOF
// says that it ended between two frames.
func (r *Reader) Read() (Frame, error) {
	var f Frame
	if err := r.fill(HeaderSize); err != nil {
		return f, err
	}
	header := (*[HeaderSize]byte)(r.buf[r.from:])
	n, err := f.parse(header, r.maxBody)
	if err != nil {
		return Frame{}, err
	}
	trailer := int(header[52])
	check, sum := binary.BigEndian.Uint32(header[60:]), crc32.Checksum(header[:60], castagnoli)
	r.from += HeaderSize
	if f.Body, err = r.body(n); err != nil {
		return Frame{}, noEOF(err)
	}
	if crc32.Update(sum, castagnoli, f.Body) != check {
		return Frame{}, ErrChecksum
	}
	return f, f.cutTrailer(trailer)
}

// fill reads until n bytes are there; they must fit.
func (r *Reader) fill(n int) error {
	for r.to-r.from < n {
		if r.from == r.to {
			r.from, r.to = 0, 0
		} else if len(r.buf)-r.from < n {
			r.from, r.to = 0, copy(r.buf, r.buf[r.from:r.to])
		}
		m, err := r.r.Read(r.buf[r.to:])
		if r.to += m; err != nil && r.to-r.from < n {
			if r.to > r.from {
				return noEOF(err)
			}
			return err
		}
	}
	return nil
}

// body hands out n bytes in memory of their own; nil for none.
func (r *Reader) body(n int) ([]byte, error) {
	if n > slabBody {
		there := r.buf[r.from:min(r.from+n, r.to)]
		r.from += len(there)
		return readBody(r.r, there, n)
	}
	if n == 0 {
		return nil, nil
	}
	if err := r.fill(n); err != nil {
		return nil, err
	}
	if len(r.slab) < n {
		r.slab = make([]byte, slabSize)
	}
	body := r.slab[:n:n]
	r.slab = r.slab[n:]
	copy(body, r.buf[r.from:])
	r.from += n
	return body, nil
}

// readBody reads n bytes, of which some are there, into fresh memory.
func readBody(r io.Reader, there []byte, n int) ([]byte, error) {
	body := make([]byte, max(min(n, eagerBody), len(there)))
	for have := copy(body, there); ; {
		if _, err := io.ReadFull(r, body[have:]); err != nil {
			return nil, err
		}
		if have = len(body); have == n {
			return body, nil
		}
		grown := make([]byte, min(n, 2*have))
		copy(grown, body)
		body = grown
	}
}
