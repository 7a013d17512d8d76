package wire

import (
	"encoding/json"
	"errors"
	"testing"
)

// What is not named stays, "default" takes a property back, and anything unknown is refused.
func TestBucketChanges(t *testing.T) {
	p := BucketProps{R: 1, W: QuorumAll, Sloppy: SwitchOn}
	var c BucketChange
	if err := json.Unmarshal([]byte(`{"r":"default","w":2,"pr":"quorum","sloppy":false,"siblings":true}`), &c); err != nil {
		t.Fatal(err)
	}
	p = p.With(&c)
	if want := (BucketProps{W: 2, PR: QuorumMajority, Sloppy: SwitchOff, Siblings: true}); p != want {
		t.Errorf("%+v, want %+v", p, want)
	}
	b, err := json.Marshal(p)
	if want := `{"r":"default","w":2,"pr":"quorum","pw":"default","sloppy":false,"siblings":true}`; err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	var back BucketProps
	if err := json.Unmarshal(b, &back); err != nil || back != p {
		t.Errorf("came back as %+v, %v", back, err)
	}
	for _, bad := range []string{`{"r":0}`, `{"r":8}`, `{"w":"most"}`, `{"pw":-1}`, `{"pr":1.5}`, `{"sloppy":"yes"}`, `{"sloppy":1}`} {
		if err := json.Unmarshal([]byte(bad), &c); !errors.Is(err, &Error{Code: BadRequest}) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A request's own word goes before the bucket's.
func TestBucketsFillWhatIsLeftToTheDefault(t *testing.T) {
	p := BucketProps{R: 1, W: 2, PR: 3, PW: QuorumAll, Sloppy: SwitchOn}
	read, write, own := Call{}, Call{}, Call{Quorum: QuorumMajority, Primary: 1, Flags: CallStrict}
	p.Fill(&read, true)
	p.Fill(&write, false)
	p.Fill(&own, false)
	if read.Quorum != 1 || read.Primary != 3 || read.Flags != CallSloppy {
		t.Errorf("a read: %+v", read)
	}
	if write.Quorum != 2 || write.Primary != QuorumAll || write.Flags != CallSloppy {
		t.Errorf("a write: %+v", write)
	}
	if own.Quorum != QuorumMajority || own.Primary != 1 || own.Flags != CallStrict {
		t.Errorf("one with its own: %+v", own)
	}
	if n := testing.AllocsPerRun(100, func() { p.Fill(&read, true) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
