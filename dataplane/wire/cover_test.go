package wire

import (
	"bytes"
	"testing"
)

func TestCoverRequestRoundTrip(t *testing.T) {
	b := AppendCoverRequest(nil, &CoverRequest{R: QuorumAll, Body: []byte("keys")})
	c, err := ParseCoverRequest(b)
	if err != nil || c.R != QuorumAll || string(c.Body) != "keys" {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := ParseCoverRequest(nil); err == nil {
		t.Error("an empty body parses")
	}
}

func FuzzCutCoverPart(f *testing.F) {
	f.Add(AppendCoverPart(nil, &CoverPart{Partition: 513, Node: "n1"}))
	f.Add([]byte{0, 0, 9, 'n'})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, rest, err := CutCoverPart(b)
		if err == nil && !bytes.Equal(append(AppendCoverPart(nil, &p), rest...), b) {
			t.Fatalf("%x does not come back", b)
		}
	})
}

func FuzzParseHintStores(f *testing.F) {
	f.Add(AppendHintStore(AppendHintStore(nil, &HintStore{3, "00000000000000ab"}), &HintStore{}))
	f.Add([]byte{0, 0, 9, 'n'})
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := ParseHintStores(b)
		if err != nil {
			return
		}
		var again []byte
		for i := range all {
			again = AppendHintStore(again, &all[i])
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x does not come back", b)
		}
	})
}
