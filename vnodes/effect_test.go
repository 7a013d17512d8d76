package vnodes

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/dataplane/wire"
)

func TestWritesCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		writes := make([]Write, rapid.IntRange(0, 5).Draw(t, "count"))
		for i := range writes {
			writes[i] = Write{Key: drawKey(t), Record: drawRecord(t)}
		}
		b := AppendWrites([]byte("before"), writes)[len("before"):]
		got, err := ParseWrites(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(writes, got); diff != "" {
			t.Fatal(diff)
		}
		for n := range b {
			if _, err := ParseWrites(b[:n]); !errors.Is(err, wire.ErrBody) {
				t.Fatalf("%d of %d bytes: %v", n, len(b), err)
			}
		}
		if _, err := ParseWrites(append(b, 0)); !errors.Is(err, wire.ErrBody) {
			t.Fatalf("a byte too many: %v", err)
		}
	})
}

func TestParseWritesRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":     nil,
		"huge count":  {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"empty key":   AppendWrites(nil, []Write{{Key: nil, Record: Record{Value: []byte("v")}}}),
		"long varint": {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80},
	} {
		if _, err := ParseWrites(b); !errors.Is(err, wire.ErrBody) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseWrites(f *testing.F) {
	f.Add(AppendWrites(nil, nil))
	f.Add(AppendWrites(nil, []Write{
		{Key: []byte("a"), Record: Record{Stamp: Stamp{Time: 1, Node: 2, ID: 3}, Value: []byte("one")}},
		{Key: []byte("b"), Record: Record{Flags: FlagTombstone}},
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		writes, err := ParseWrites(b)
		if err != nil {
			return
		}
		again, err := ParseWrites(AppendWrites(nil, writes))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(writes, again, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}
