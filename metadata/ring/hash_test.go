package ring_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/metadata/ring"
)

// erlangBinary is data as an Erlang external term: BINARY_EXT.
func erlangBinary(data []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{109}, uint32(len(data)))
	return append(b, data...)
}

// erlangHash is the tutorial's: SHA-1 of term_to_binary({<<"rc_example">>, term_to_binary(Key)}).
func erlangHash(key []byte) ring.Hash {
	b := []byte{131, 104, 2} // version, SMALL_TUPLE_EXT of two
	b = append(b, erlangBinary([]byte("rc_example"))...)
	b = append(b, erlangBinary(key)...)
	return sha1.Sum(b)
}

// oldAtom is term_to_binary of an atom up to OTP 25: ATOM_EXT.
func oldAtom(name string) []byte {
	return append([]byte{131, 100, 0, byte(len(name))}, name...)
}

// newAtom is term_to_binary of an atom from OTP 26 on: SMALL_ATOM_UTF8_EXT.
func newAtom(name string) []byte {
	return append([]byte{131, 119, byte(len(name))}, name...)
}

func TestTheTutorialsKeysLandWhereItPrintsThem(t *testing.T) {
	for _, c := range []struct {
		key       string
		partition ring.Partition
		owner     ring.NodeID // in the tutorial's ring of three
		base36    string
	}{
		{"k1", 50, "b", "ND1G8YLUY5OVK16UNH2ZITWHUUGHOU8"},
		{"k100", 59, "a", "RKFE4TBE76PR5N05XGK31C8TPLJGJY8"},
		{"k101", 31, "c", ""},
		{"k444", 39, "c", ""},
		{"k4445", 43, "c", ""},
		{"k2", 21, "b", ""},
		{"k3", 57, "b", ""},
		{"key1", 55, "a", ""},
		{"key2", 44, "a", ""},
		{"key3453", 7, "c", ""},
	} {
		p := ring.Locate(erlangHash(oldAtom(c.key)), 64)
		if p != c.partition {
			t.Errorf("%s is in partition %d, want %d", c.key, p, c.partition)
		}
		if owner := tutorialRing(t).Owner(p); owner != c.owner {
			t.Errorf("%s is on %s, want %s", c.key, owner, c.owner)
		}
		index, _ := new(big.Int).SetString(p.Index(64), 10)
		if got := strings.ToUpper(index.Text(36)); c.base36 != "" && got != c.base36 {
			t.Errorf("%s has index %s, want %s", c.key, got, c.base36)
		}
	}
	h := erlangHash(oldAtom("k1")).String()
	if !strings.HasPrefix(h, "c629fe80") || !strings.HasSuffix(h, "f17c") {
		t.Errorf("k1 has hash %s, want c629fe80…f17c", h)
	}
	if p := ring.Locate(erlangHash(newAtom("k1")), 64); p != 55 {
		t.Errorf("k1 as OTP 26 writes it is in partition %d, want 55", p)
	}
	if i := ring.Partition(50).Index(64); i != "1141798154164767904846628775559596109106197299200" {
		t.Errorf("partition 50 has index %s", i)
	}
}

func TestHashKeyIsTheHashOfLengthBucketKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bucket := rapid.StringN(0, -1, 300).Draw(t, "bucket")
		key := rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "key")
		all := binary.AppendUvarint(nil, uint64(len(bucket)))
		all = append(append(all, bucket...), key...)
		if got := ring.HashKey(bucket, key); got != sha1.Sum(all) {
			t.Fatalf("got %v", got)
		}
	})
}

func TestHashKeyOfAShortKeyDoesNotAllocate(t *testing.T) {
	key := bytes.Repeat([]byte("k"), 100)
	if n := testing.AllocsPerRun(100, func() { ring.Locate(ring.HashKey("bucket", key), 64) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLocateIsTheNextBoundary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := 8 << rapid.IntRange(0, 9).Draw(t, "log q")
		var h ring.Hash
		copy(h[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "hash"))
		size := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 160), big.NewInt(int64(q)))
		want := new(big.Int).Div(new(big.Int).SetBytes(h[:]), size)
		want.Add(want, big.NewInt(1)).Mod(want, big.NewInt(int64(q)))
		p := ring.Locate(h, q)
		if int64(p) != want.Int64() {
			t.Fatalf("partition %d, want %v", p, want)
		}
		if got, err := ring.ParseIndex(p.Index(q), q); got != p || err != nil {
			t.Fatalf("index %s of %d parses as %d, %v", p.Index(q), p, got, err)
		}
	})
}

func TestParseIndexRefusesWhatIsNoBoundary(t *testing.T) {
	top := new(big.Int).Lsh(big.NewInt(1), 160).String()
	for _, s := range []string{"", "1", "-1", "+0", "00", "0x0", "k1", top, strings.Repeat("9", 1000)} {
		if p, err := ring.ParseIndex(s, 64); err == nil {
			t.Errorf("%.20q is partition %d", s, p)
		}
	}
	if _, err := ring.ParseIndex("0", 63); err == nil {
		t.Error("a ring of 63 partitions has indexes")
	}
}

func BenchmarkHashKeyAndLocate(b *testing.B) {
	key := []byte("user:1234567890")
	b.ReportAllocs()
	for b.Loop() {
		ring.Locate(ring.HashKey("sessions", key), 1024)
	}
}
