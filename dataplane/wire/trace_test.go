package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

var sampled = &Trace{ID: [16]byte{0: 1, 15: 2}, Span: [8]byte{0: 3, 7: 4}, Flags: 1}

func TestTraceParent(t *testing.T) {
	const text = "00-01000000000000000000000000000002-0300000000000004-01"
	if got := sampled.String(); got != text {
		t.Errorf("%s, want %s", got, text)
	}
	for _, s := range []string{text, "01" + text[2:] + "-more"} {
		if got := ParseTrace(s); got == nil || *got != *sampled {
			t.Errorf("%s: %v", s, got)
		}
	}
	if got := ParseTrace(text[:53] + "00"); got == nil || got.Sampled() {
		t.Errorf("not sampled: %v", got)
	}
	for _, s := range []string{
		"", text[:54], text + "-more", "ff" + text[2:], strings.ToUpper(text[:3]) + strings.Repeat("A", 32) + text[35:], "0x" + text[2:],
		strings.ReplaceAll(text, "-", "_"), "00-" + strings.Repeat("0", 32) + text[35:], text[:36] + strings.Repeat("0", 16) + text[52:], "01" + text[2:] + "more",
	} {
		if got := ParseTrace(s); got != nil {
			t.Errorf("%q is let pass: %v", s, got)
		}
	}
	if (*Trace)(nil).Sampled() {
		t.Error("nothing is sampled")
	}
}

// A traced frame is read by both readers, among others that are not; its trace is none of its body.
func TestTracedFrames(t *testing.T) {
	var sent []byte
	bodies := [][]byte{nil, []byte("body"), bytes.Repeat([]byte{7}, slabBody), bytes.Repeat([]byte{8}, eagerBody+1)}
	for _, body := range bodies {
		sent = AppendFrame(sent, &Header{Kind: KindRequest, ID: 5, Trace: sampled}, body)
		sent = AppendFrame(sent, &Header{Kind: KindRequest, ID: 6}, body)
	}
	buffered, plain := NewReader(bytes.NewReader(sent), eagerBody+1), bytes.NewReader(sent)
	for _, read := range []func() (Frame, error){buffered.Read, func() (Frame, error) { return ReadFrame(plain, eagerBody+1) }} {
		for _, body := range bodies {
			f, err := read()
			if err != nil || f.ID != 5 || f.Trace == nil || *f.Trace != *sampled || !bytes.Equal(f.Body, body) {
				t.Fatalf("traced frame of %d: %+v, %d bytes, %v", len(body), f.Header, len(f.Body), err)
			}
			if f, err = read(); err != nil || f.ID != 6 || f.Trace != nil || !bytes.Equal(f.Body, body) {
				t.Fatalf("frame of %d: %+v, %d bytes, %v", len(body), f.Header, len(f.Body), err)
			}
		}
		if _, err := read(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
}

// Of a longer trailer what is known is read; one longer than its frame ends the connection, and so
// does one that was changed on its way.
func TestTrailers(t *testing.T) {
	f := Frame{Body: append(appendTrace([]byte("body"), sampled), "later"...)}
	if err := f.cutTrailer(TraceSize + 5); err != nil || string(f.Body) != "body" || *f.Trace != *sampled {
		t.Errorf("%+v, %v", f, err)
	}
	f = Frame{Body: []byte("bodyx")}
	if err := f.cutTrailer(1); err != nil || string(f.Body) != "body" || f.Trace != nil {
		t.Errorf("a trailer of something else: %+v, %v", f, err)
	}
	if err := f.cutTrailer(5); !errors.Is(err, ErrTrailer) {
		t.Errorf("%v", err)
	}
	spoilt := AppendFrame(nil, &Header{Kind: KindRequest, Trace: sampled}, []byte("body"))
	spoilt[len(spoilt)-1] ^= 1
	if _, err := ReadFrame(bytes.NewReader(spoilt), 100); !errors.Is(err, ErrChecksum) {
		t.Errorf("%v", err)
	}
}

func TestUntracedFramesCostNothing(t *testing.T) {
	buf, body := make([]byte, 0, 4096), []byte("body")
	h := &Header{Kind: KindRequest}
	if n := testing.AllocsPerRun(100, func() { AppendFrame(buf, h, body) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if got := AppendFrame(buf, h, body); got[52] != 0 || len(got) != HeaderSize+4 {
		t.Errorf("% x", got)
	}
}
