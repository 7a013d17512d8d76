// Package ring holds the ownership map as a value, and the functions that read,
// plan and change it. It does no I/O, starts no goroutine and asks no clock: every
// function is pure, and may be called from any goroutine.
//
// The nouns:
//
//   - A [Hash] is a key's place on the circle of 2^160; [Locate] finds its
//     [Partition], one of Q equal parts.
//   - A [Ring] is one immutable version of the map: for each partition an
//     [Assignment], the ordered list of [Replica]s on distinct nodes. A place in the
//     list is a slot; slot 0 is the owner.
//   - [Preferences] say which nodes serve a key now: the primaries that are up, and
//     fallbacks for those that are down.
//   - [Claim] computes who should hold what: a target, one list for each partition.
//   - A [Step] is the smallest change of one list. [NextStep] leads from a list to its
//     target, and [Ring.Begin], [Ring.Commit] and [Ring.Abort] apply it.
//   - [Diff], [Share] and [Warnings] describe a target to an operator, and [Figure] draws the ring.
//
// A Ring is never changed in place: what changes it returns another that shares
// all that stayed. It says nothing about addresses, liveness or membership.
package ring
