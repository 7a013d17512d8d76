package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// Bodies around the size from which on memory grows with what arrives.
func TestReader(t *testing.T) {
	var sent []byte
	sizes := []int{0, 1, eagerBody - 1, eagerBody, eagerBody + 1, 3*eagerBody + 7}
	body := func(n int) []byte { return bytes.Repeat([]byte{byte(n), 1, 2}, n)[:n] }
	for i, n := range sizes {
		sent = AppendFrame(sent, &Header{Kind: KindRequest, ID: uint64(i), Gen: 1 << 40}, body(n))
	}
	r := NewReader(iotest.HalfReader(bytes.NewReader(sent)), 4*eagerBody)
	for i, n := range sizes {
		f, err := r.Read()
		if err != nil || f.ID != uint64(i) || f.Gen != 1<<40 || !bytes.Equal(f.Body, body(n)) {
			t.Fatalf("frame %d: %+v, %d bytes, %v", i, f.Header, len(f.Body), err)
		}
	}
	if _, err := r.Read(); err != io.EOF {
		t.Fatalf("at the end: %v", err)
	}
}

func TestReaderRefuses(t *testing.T) {
	good := AppendFrame(nil, &Header{Kind: KindRequest}, []byte("body"))
	with := func(at int, b byte) []byte { x := bytes.Clone(good); x[at] = b; return x }
	for name, tc := range map[string]struct {
		sent []byte
		want error
	}{
		"version":     {with(0, 2), ErrVersion},
		"length":      {with(4, 0xff), ErrTooLong},
		"header":      {with(8, 1), ErrChecksum},
		"body":        {with(HeaderSize, 'B'), ErrChecksum},
		"half header": {good[:10], io.ErrUnexpectedEOF},
		"no body":     {good[:HeaderSize], io.ErrUnexpectedEOF},
		"half body":   {good[:HeaderSize+2], io.ErrUnexpectedEOF},
	} {
		if _, err := NewReader(bytes.NewReader(tc.sent), 100).Read(); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
