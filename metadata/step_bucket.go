package metadata

import (
	"maps"
	"unicode/utf8"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// Bounds of State.Buckets: every node and client gets all of it.
const (
	maxBuckets    = 1000 // with properties of their own
	maxBucketName = 1 << 10
)

// Bucket tells the properties of a bucket; the zero value if it has none of its own.
func (s *State) Bucket(name string) wire.BucketProps { return s.Buckets[name] }

// bucket changes properties of a bucket. One that is left with none is forgotten.
func (s *State) bucket(name string, c *wire.BucketChange) (bool, error) {
	switch {
	case name == "" || len(name) > maxBucketName || c == nil:
		return false, wire.Errorf(wire.BadRequest, "a change of a bucket needs its name, of 1 to %d bytes, and what to change", maxBucketName)
	case !utf8.ValidString(name): // JSON would make two of such names one
		return false, wire.Errorf(wire.BadRequest, "a bucket with properties of its own needs a name that is text (UTF-8)")
	}
	for _, q := range []*wire.Quorum{c.R, c.W, c.PR, c.PW} {
		if q != nil && *q <= wire.MaxQuorum && int(*q) > s.Wanted() {
			return false, wire.Errorf(wire.Refused, "%d replicas cannot answer: the cluster keeps %d; give at most that, or one, quorum or all", *q, s.Wanted())
		}
	}
	old, had := s.Buckets[name]
	props := old.With(c)
	switch {
	case props == old:
		return false, nil
	case !had && len(s.Buckets) >= maxBuckets:
		return false, wire.Errorf(wire.Refused, "%d buckets have properties of their own, and more cannot: give some of them back all defaults", maxBuckets)
	}
	buckets := maps.Clone(s.Buckets)
	if buckets == nil {
		buckets = make(map[string]wire.BucketProps)
	}
	if buckets[name] = props; props == (wire.BucketProps{}) {
		delete(buckets, name)
	}
	if len(buckets) == 0 {
		buckets = nil
	}
	s.Buckets = buckets
	return true, nil
}
