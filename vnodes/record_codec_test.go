package vnodes

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawRecord draws any record; empty values are nil, as the codecs return them.
func drawRecord(t *rapid.T) Record {
	r := Record{
		Stamp: Stamp{Time: rapid.Uint64().Draw(t, "time"), Node: rapid.Uint64().Draw(t, "node"), ID: rapid.Uint64().Draw(t, "id")},
		Flags: RecordFlags(rapid.Byte().Draw(t, "flags")),
		Value: rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "value"),
	}
	if len(r.Value) == 0 {
		r.Value = nil
	}
	return r
}

func drawKey(t *rapid.T) []byte { return rapid.SliceOfN(rapid.Byte(), 1, 24).Draw(t, "key") }

func TestRecordCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, r := drawKey(t), drawRecord(t)
		b := appendRecord([]byte("before"), key, &r)[len("before"):]
		got, err := parseRecord(key, b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Fatal(diff)
		}
		bit := rapid.IntRange(0, 8*len(b)-1).Draw(t, "bit")
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := parseRecord(key, b); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := parseRecord(append(key, 0), b); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("under another key: %v", err)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte("key"), appendRecord(nil, []byte("key"), &Record{Stamp: Stamp{Time: 1}, Value: []byte("value")}))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, key, b []byte) {
		r, err := parseRecord(key, b)
		if err == nil && !bytes.Equal(appendRecord(nil, key, &r), b) {
			t.Errorf("%x parsed as %+v", b, r)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
	})
}

// A changed key, flag, stamp or value, or a byte moved from key to value, changes the hash.
func TestRecordHashCoversEverything(t *testing.T) {
	base := Record{Stamp: Stamp{Time: 1, Node: 2, ID: 3}, Value: []byte("value")}
	hashes := map[uint64]string{RecordHash([]byte("key"), &base): "base"}
	for name, change := range map[string]func(key *[]byte, r *Record){
		"key":   func(key *[]byte, _ *Record) { *key = []byte("kez") },
		"flags": func(_ *[]byte, r *Record) { r.Flags = FlagTombstone },
		"time":  func(_ *[]byte, r *Record) { r.Stamp.Time++ },
		"node":  func(_ *[]byte, r *Record) { r.Stamp.Node++ },
		"id":    func(_ *[]byte, r *Record) { r.Stamp.ID++ },
		"value": func(_ *[]byte, r *Record) { r.Value = []byte("valuf") },
		"shift": func(key *[]byte, r *Record) { *key, r.Value = []byte("keyv"), []byte("alue") },
	} {
		key, r := []byte("key"), base
		change(&key, &r)
		h := RecordHash(key, &r)
		if other, ok := hashes[h]; ok {
			t.Errorf("%s hashes as %s", name, other)
		}
		hashes[h] = name
	}
	if n := testing.AllocsPerRun(100, func() { RecordHash([]byte("key"), &base) }); n > 0 {
		t.Errorf("RecordHash allocates %v times", n)
	}
}

func TestShortKey(t *testing.T) {
	if got := shortKey([]byte("a\x00b")); got != `"a\x00b"` {
		t.Error(got)
	}
	if got := shortKey([]byte(strings.Repeat("x", 30))); got != `"xxxxxxxxxxxxxxxxxxxxxxxx" and 6 bytes` {
		t.Error(got)
	}
}
