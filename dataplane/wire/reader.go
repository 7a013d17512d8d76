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

// Reader reads the frames of one connection. It keeps the header's bytes, which
// ReadFrame allocates for each frame. One goroutine at a time may use it.
type Reader struct {
	r       io.Reader
	maxBody int
	header  [HeaderSize]byte
}

// NewReader reads from r frames whose bodies are at most maxBody bytes long.
func NewReader(r io.Reader, maxBody int) *Reader { return &Reader{r: r, maxBody: maxBody} }

// Read is ReadFrame. After an error the stream can no longer be trusted; io.EOF
// says that it ended between two frames.
func (r *Reader) Read() (Frame, error) {
	if _, err := io.ReadFull(r.r, r.header[:]); err != nil {
		return Frame{}, err
	}
	var f Frame
	n, err := f.parse(&r.header, r.maxBody)
	if err != nil {
		return Frame{}, err
	}
	if f.Body, err = readBody(r.r, n); err != nil {
		return Frame{}, noEOF(err)
	}
	sum := crc32.Update(crc32.Checksum(r.header[:60], castagnoli), castagnoli, f.Body)
	if sum != binary.BigEndian.Uint32(r.header[60:]) {
		return Frame{}, ErrChecksum
	}
	return f, nil
}

// readBody reads n bytes into fresh memory; nil for none.
func readBody(r io.Reader, n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	body := make([]byte, min(n, eagerBody))
	for have := 0; ; {
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
