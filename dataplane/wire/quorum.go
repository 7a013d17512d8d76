package wire

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Quorum says how many slots must answer. 0 stands for the bucket's default, else
// the service's; the values above MaxQuorum are symbolic. In JSON it is a number,
// or "quorum", "all" or "default".
type Quorum uint8

// The symbolic quorums, and the largest number.
const (
	QuorumDefault  Quorum = 0
	MaxQuorum      Quorum = 7
	QuorumMajority Quorum = 254
	QuorumAll      Quorum = 255
)

// ParseQuorum reads a quorum as people write it: one, quorum, all, default or a
// number of replicas. The empty text is the default.
func ParseQuorum(s string) (Quorum, error) {
	switch s {
	case "", "default":
		return QuorumDefault, nil
	case "one":
		return 1, nil
	case "quorum":
		return QuorumMajority, nil
	case "all":
		return QuorumAll, nil
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if q := Quorum(n); err == nil && q != QuorumDefault && q <= MaxQuorum {
		return q, nil
	}
	return 0, Errorf(BadRequest, "%q is no quorum: write one, quorum, all or 1 to %d", s, MaxQuorum)
}

// String is q as ParseQuorum reads it.
func (q Quorum) String() string {
	switch q {
	case QuorumDefault:
		return "default"
	case QuorumMajority:
		return "quorum"
	case QuorumAll:
		return "all"
	}
	return strconv.Itoa(int(q))
}

// MarshalJSON writes q as a number or a word.
func (q Quorum) MarshalJSON() ([]byte, error) {
	if q != QuorumDefault && q <= MaxQuorum {
		return strconv.AppendUint(nil, uint64(q), 10), nil
	}
	return strconv.AppendQuote(nil, q.String()), nil
}

// UnmarshalJSON reads a number or a word.
func (q *Quorum) UnmarshalJSON(b []byte) (err error) {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return fmt.Errorf("quorum: %w", err)
		}
	}
	*q, err = ParseQuorum(text)
	return err
}
