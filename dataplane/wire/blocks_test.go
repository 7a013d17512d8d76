package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
)

// row is a row of blocks of n items, the first of them with a value so long.
func row(t testing.TB, n, long int) []byte {
	var b bytes.Buffer
	w := NewBlockWriter(&b)
	err := w.Block(BlockLeaves, []byte("leaves"))
	for i := range n {
		value := fmt.Append(nil, i)
		if i == 0 {
			value = make([]byte, long)
		}
		err = errors.Join(err, w.Item(&Item{Key: fmt.Appendf(nil, "%06d", i), Stamp: Stamp{Time: uint64(i)}, Value: value}))
	}
	if err := errors.Join(err, w.End()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// items reads a row to its end: how many came, and the bytes of other blocks.
func items(b []byte) (n, others int, err error) {
	r := NewBlockReader(sips{bytes.NewReader(b)})
	for ; ; n++ {
		it, err := r.Item(func(_ BlockKind, body []byte) error { others += len(body); return nil })
		if err != nil {
			return n, others, err
		}
		if it.Stamp.Time != uint64(n) {
			return n, others, fmt.Errorf("item %d is %v", n, it.Stamp)
		}
	}
}

// sips reads few bytes at a time.
type sips struct{ io.Reader }

func (r sips) Read(b []byte) (int, error) { return r.Reader.Read(b[:min(len(b), 7)]) }

func TestBlocks(t *testing.T) {
	for _, n := range []int{0, 1, 2000} {
		if got, others, err := items(row(t, n, 2*blockSize)); err != io.EOF || got != n || others != len("leaves") {
			t.Errorf("%d items of %d, %d other bytes, %v", got, n, others, err)
		}
	}
	b := row(t, 20, 10)
	for at := range len(b) {
		if _, _, err := items(b[:at]); !errors.Is(err, ErrBlocks) {
			t.Fatalf("cut at %d: %v", at, err)
		}
		c := bytes.Clone(b)
		c[at] ^= 1 << (at % 8)
		if _, _, err := items(c); !errors.Is(err, ErrBlocks) {
			t.Fatalf("bit flipped at %d: %v", at, err)
		}
	}
	if _, _, err := items(append(b, 0)); !errors.Is(err, ErrBlocks) {
		t.Errorf("a byte too many: %v", err)
	}
}

func FuzzBlocks(f *testing.F) {
	f.Add(row(f, 3, 10))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := items(b); err == nil {
			t.Error("no end")
		}
	})
}
