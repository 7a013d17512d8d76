package codec

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/ringcore/ringcore/dataplane/wire"
)

var emptyIsNil = cmpopts.EquateEmpty()

func drawCommand(t *rapid.T) Command {
	c := Command{Op: Op(rapid.IntRange(1, 5).Draw(t, "op"))}
	if c.Op == OpPut || c.Op == OpPutIf {
		c.Value = rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "value")
	}
	if c.Op == OpPut || c.Op == OpPutIf || c.Op == OpExpire {
		c.Expires = rapid.Uint64().Draw(t, "expires")
	}
	if c.Op == OpPutIf {
		c.Cond = Cond(rapid.IntRange(0, int(condMask)).Draw(t, "cond"))
	}
	if c.Op == OpPut || c.Op == OpPutIf || c.Op == OpDelete {
		c.Context = drawContext(t)
	}
	return c
}

func drawContext(t *rapid.T) Context {
	if rapid.Bool().Draw(t, "no context") {
		return Context{}
	}
	var v seen
	for i := range rapid.IntRange(0, 4).Draw(t, "actors") {
		v = append(v, Dot{Actor: uint64(i), Time: rapid.Uint64Min(1).Draw(t, "seen")})
	}
	return Context{Base: wire.Stamp{Time: rapid.Uint64Min(1).Draw(t, "base")}, Dots: string(v.append(nil))}
}

// drawObject draws any Object as its methods leave it.
func drawObject(t *rapid.T) Object {
	var o Object
	if rapid.Bool().Draw(t, "base") {
		o.Base = Base{Stamp: wire.Stamp{Time: rapid.Uint64Range(1, 5).Draw(t, "time"), ID: 1}, Live: rapid.Bool().Draw(t, "live")}
		if o.Base.Live {
			o.Base.Envelope = drawEnvelope(t)
		}
	}
	for range rapid.IntRange(0, 4).Draw(t, "puts") {
		dot := Dot{Actor: rapid.Uint64Range(1, 3).Draw(t, "actor"), Time: max(o.Newest(), o.Base.Stamp.Time) + 1}
		o.Put(Sibling{Dot: dot, ID: rapid.Uint64Range(1, 9).Draw(t, "id"), Envelope: drawEnvelope(t)})
	}
	return o
}

func drawEnvelope(t *rapid.T) Envelope {
	return Envelope{Expires: rapid.Uint64Range(0, 9).Draw(t, "expires"), Value: rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "value")}
}

func drawResult(t *rapid.T) Result {
	r := Result{State: State(rapid.IntRange(0, 3).Draw(t, "state"))}
	if r.State != Absent {
		r.Stamp = wire.Stamp{Time: rapid.Uint64Min(1).Draw(t, "time"), Node: rapid.Uint64().Draw(t, "node"), ID: rapid.Uint64().Draw(t, "id")}
	}
	if r.State == Live {
		r.Expires = rapid.Uint64().Draw(t, "expires")
		r.Value = rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "value")
	}
	if r.State == Versions {
		r.Object = drawObject(t)
	}
	return r
}

func same[T any](t *rapid.T, want, got T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("parse %+v: %v", want, err)
	}
	if d := cmp.Diff(want, got, emptyIsNil, cmp.AllowUnexported(Object{})); d != "" {
		t.Fatalf("came back different (-want +got):\n%s", d)
	}
}

func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCommand(t)
		got, err := ParseCommand(AppendCommand(nil, &c))
		same(t, c, got, err)

		r := drawResult(t)
		gotR, err := ParseResult(AppendResult(nil, &r))
		same(t, r, gotR, err)

		o := Outcome{Applied: rapid.Bool().Draw(t, "applied"), Old: r}
		gotO, err := ParseOutcome(AppendOutcome(nil, &o))
		same(t, o, gotO, err)

		p := Pong{Partition: rapid.Uint16().Draw(t, "partition"), Node: rapid.String().Draw(t, "node")}
		gotP, err := ParsePong(AppendPong(nil, &p))
		same(t, p, gotP, err)

		a, b := rapid.Uint64().Draw(t, "a"), rapid.Uint64().Draw(t, "b")
		v := Cover{
			Op: CoverOp(rapid.IntRange(1, 2).Draw(t, "cover")), Bucket: rapid.StringN(1, 20, 100).Draw(t, "bucket"),
			Q: rapid.SampledFrom([]uint16{0, 8, 64, 4096}).Draw(t, "q"), From: min(a, b), To: max(a, b),
		}
		gotV, err := ParseCover(AppendCover(nil, &v))
		same(t, v, gotV, err)
	})
}

func TestRecordKeysSplitAndOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bucket := rapid.StringN(1, 20, 200).Draw(t, "bucket")
		a, b := rapid.SliceOf(rapid.Byte()).Draw(t, "a"), rapid.SliceOf(rapid.Byte()).Draw(t, "b")
		ra, rb := RecordKey(bucket, a), RecordKey(bucket, b)
		if bytes.Compare(a, b) != bytes.Compare(ra, rb) {
			t.Fatalf("%q and %q order otherwise as records", a, b)
		}
		gotB, gotK, err := SplitRecordKey(ra)
		if err != nil || string(gotB) != bucket || !bytes.Equal(gotK, a) {
			t.Fatalf("split of %q, %q gives %q, %q, %v", bucket, a, gotB, gotK, err)
		}
		other := bucket + "x"
		if bytes.HasPrefix(RecordKey(other, a), RecordKey(bucket, nil)) {
			t.Fatalf("bucket %q lies inside %q", other, bucket)
		}
	})
}

func TestEveryKeyIsInExactlyOneTouchedPartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := rapid.SampledFrom([]uint16{8, 64, 4096}).Draw(t, "q")
		x := rapid.Uint64().Draw(t, "position")
		c := Cover{Q: q, From: x, To: x}
		// The rule of the ring: a hash belongs to the next boundary.
		want := uint16((x/(1<<63/uint64(q)*2) + 1) % uint64(q))
		for p := range q {
			if c.Touches(p) != (p == want) {
				t.Fatalf("position %x of %d partitions: partition %d touched is %v, it lies in %d", x, q, p, c.Touches(p), want)
			}
		}
	})
}

func TestResolveTakesTheNewest(t *testing.T) {
	enc := func(r Result) []byte { return AppendResult(nil, &r) }
	absent := enc(Result{})
	old := enc(Result{State: Live, Stamp: wire.Stamp{Time: 1}, Value: []byte("old")})
	gone := enc(Result{State: Deleted, Stamp: wire.Stamp{Time: 2}})
	for _, replies := range [][][]byte{{absent, old, gone}, {gone, old, absent}, {old, gone}} {
		got, err := Resolve(replies)
		if err != nil || !bytes.Equal(got, gone) {
			t.Errorf("Resolve(%q) = %q, %v; want the tombstone", replies, got, err)
		}
	}
	if got, err := Resolve([][]byte{absent, absent}); err != nil || !bytes.Equal(got, absent) {
		t.Errorf("two absent: %q, %v", got, err)
	}
	if _, err := Resolve(nil); !errors.Is(err, &wire.Error{Code: wire.Corrupt}) {
		t.Errorf("no replies: %v", err)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want wire.Code
	}{
		{"empty bucket", CheckBucket(""), wire.BadRequest},
		{"long bucket", CheckBucket(strings.Repeat("b", MaxBucket+1)), wire.TooLarge},
		{"longest bucket", CheckBucket(strings.Repeat("b", MaxBucket)), wire.OK},
		{"empty key", CheckKey("b", nil), wire.BadRequest},
		{"long key", CheckKey("b", make([]byte, MaxKey+1)), wire.TooLarge},
		{"longest key", CheckKey("b", make([]byte, MaxKey)), wire.OK},
		{"long value", CheckValue(make([]byte, MaxValue+1)), wire.TooLarge},
		{"longest value", CheckValue(make([]byte, MaxValue)), wire.OK},
	} {
		if c.want == wire.OK && c.err != nil || c.want != wire.OK && !errors.Is(c.err, &wire.Error{Code: c.want}) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
	long := AppendCommand(nil, &Command{Op: OpPut, Value: make([]byte, MaxValue+1)})
	if _, err := ParseCommand(long); !errors.Is(err, &wire.Error{Code: wire.TooLarge}) {
		t.Errorf("command with a long value: %v", err)
	}
}

func TestBlind(t *testing.T) {
	for op, want := range map[Op]bool{OpPut: true, OpDelete: true, OpTake: false, OpPutIf: false, OpExpire: false} {
		if Blind(AppendCommand(nil, &Command{Op: op})) != want {
			t.Errorf("Blind(%d) is not %v", op, want)
		}
	}
	if Blind(nil) {
		t.Error("an empty command is blind")
	}
}

// FuzzDecoders holds that no decoder panics, that what they accept is encoded
// back to the same bytes, and that every error has a code.
func FuzzDecoders(f *testing.F) {
	f.Add(AppendCommand(nil, &Command{Op: OpPutIf, Cond: IfAbsent, Expires: 7, Value: []byte("v")}))
	f.Add(AppendResult(nil, &Result{State: Live, Stamp: wire.Stamp{Time: 1}, Value: []byte("v")}))
	f.Add(AppendOutcome(nil, &Outcome{Applied: true}))
	f.Add(AppendCover(nil, &Cover{Op: CoverKeys, Bucket: "b", Q: 64, To: 9}))
	f.Add(AppendEnvelope(nil, &Envelope{Expires: 7}))
	o := Object{Base: Base{Stamp: wire.Stamp{Time: 1}, Live: true}}
	o.Put(Sibling{Dot: Dot{Actor: 7, Time: 9}, ID: 8, Envelope: Envelope{Value: []byte("v")}})
	f.Add(AppendObject(nil, &o))
	f.Add(AppendResult(nil, &Result{State: Versions, Object: o}))
	f.Add(AppendCommand(nil, &Command{Op: OpPut, Context: o.Context()}))
	f.Add(o.Context().Append(nil))
	f.Add(RecordKey("b", []byte("k")))
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(what string, again []byte, err error) {
			if err != nil {
				if _, ok := errors.AsType[*wire.Error](err); !ok {
					t.Errorf("%s: error without a code: %v", what, err)
				}
			} else if !bytes.Equal(again, b) {
				t.Errorf("%s: %x is accepted and encodes as %x", what, b, again)
			}
		}
		c, err := ParseCommand(b)
		check("command", AppendCommand(nil, &c), err)
		e, err := ParseEnvelope(b)
		check("envelope", AppendEnvelope(nil, &e), err)
		stored := Stored{Value: b}
		if o, err := stored.Object(); stored.IsObject() && !o.Empty() {
			check("object", AppendObject(nil, &o), err)
		}
		x, err := ReadContext(b)
		check("context", x.Append(nil), err)
		if err == nil {
			if back, err := ParseContext(x.String()); err != nil || back != x {
				t.Errorf("context %x came back as %+v, %v", b, back, err)
			}
		}
		r, err := ParseResult(b)
		check("result", AppendResult(nil, &r), err)
		o, err := ParseOutcome(b)
		check("outcome", AppendOutcome(nil, &o), err)
		p, err := ParsePong(b)
		check("pong", AppendPong(nil, &p), err)
		v, err := ParseCover(b)
		check("cover", AppendCover(nil, &v), err)
		q, err := ParseQuery(b)
		check("query", AppendQuery(nil, q), err)
		if _, _, err := SplitRecordKey(b); err != nil {
			check("record key", nil, err)
		}
	})
}
