package history

import (
	"fmt"
	"math"
	"time"
)

// Value names what a Put wrote: no two Puts of a history write the same.
type Value uint64

// None is what is read of a key that has no value.
const None Value = 0

// Kind says what an operation does.
type Kind uint8

// The kinds of operations.
const (
	Get Kind = iota
	Put
	Delete
)

func (k Kind) String() string { return [...]string{"get", "put", "delete"}[k] }

// Outcome says how an operation ended.
type Outcome uint8

// The outcomes. A Get that ends other than OK says nothing.
const (
	OK     Outcome = iota // acknowledged
	Failed                // surely without effect
	Maybe                 // it may take effect, now or later, or never
)

func (o Outcome) String() string { return [...]string{"ok", "failed", "maybe"}[o] }

// Op is an operation on one key. The times are those of one clock, for instance
// since the History was made.
type Op struct {
	Client     int
	Key        string
	Kind       Kind
	Value      Value // what a Put wrote or a Get has read
	Outcome    Outcome
	Start, End time.Duration
}

// Call is an operation under way.
type Call struct {
	Op
	history *History
	write   *write // nil for a Get
}

// forever is the end of what has not ended, or not surely.
const forever = time.Duration(math.MaxInt64)

// String tells the operation in one line.
func (o *Op) String() string {
	what := fmt.Sprintf("%s by client %d", o.Kind, o.Client)
	switch {
	case o.Kind == Put:
		what = fmt.Sprintf("put of value %d by client %d", o.Value, o.Client)
	case o.Kind == Get && o.Value == None:
		what += " found nothing"
	case o.Kind == Get:
		what += fmt.Sprintf(" found value %d", o.Value)
	}
	if o.End == forever {
		return fmt.Sprintf("%s, from %s, not ended", what, moment(o.Start))
	}
	return fmt.Sprintf("%s, %s to %s, %s", what, moment(o.Start), moment(o.End), o.Outcome)
}

func moment(d time.Duration) string { return fmt.Sprintf("%.6fs", d.Seconds()) }
