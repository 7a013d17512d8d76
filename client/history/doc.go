// Package history checks what a cluster promises of its keys: it records what
// clients did and what they were told, and finds answers that no correct cluster
// gives. It stands on the standard library alone and may be used by any test.
//
//	h := history.New()
//	op := h.Begin(caller, "key", history.Put) // op.Value is a value of its own: store it
//	op.Done(history.OK)                       // or Maybe, or Failed
//	op = h.Begin(caller, "key", history.Get)
//	op.Value = ...                            // what was read; None if not found
//	op.Done(history.OK)
//	report := h.Report()
//
// # The promise
//
// A key is a register in which the newest write wins, written by W and read from R
// of n replicas, R+W > n. Such a register is regular, not atomic. Stated exactly:
// all writes of a key, Puts and Deletes, and one Delete before all, stand in one
// order, and
//
//  1. of two acknowledged writes, one of which began after the other had ended, that
//     one is the newer;
//  2. a Get returns what a write wrote that had begun when the Get ended, and no
//     write that was acknowledged before the Get began is newer.
//
// A write that ended as Maybe, or has not ended, may take effect at any later time,
// and need not, so that neither rule puts it below another. One that ended as Failed
// surely took no effect: nobody may read it; but a Get that ends before a Delete has
// failed may have found nothing because of it. A listing is a Get of every key, in which
// a key that is there has any of its values.
//
// Reads that run at the same time as a write may return its value or the one
// before, in any order; that is no violation. Two acknowledged writes that ran at the
// same time may be ordered either way, but all Gets that begin after both agree on it.
//
// # Violations
//
//   - lost: what is read in the end (see History.Final) is older than an acknowledged Put.
//   - not_found: a key was said to have no value, and an acknowledged Put says otherwise.
//   - resurrected: a value came back that a Delete, or a write which had been read
//     meanwhile, had surely replaced.
//   - stale: a Get returned a value that an acknowledged write had surely replaced.
//   - phantom: a Get returned a value that nobody wrote, or only a write that surely failed.
//   - duplicate: a listing has a key twice.
//   - missing: a listing that calls itself complete lacks a key.
//
// # How it works
//
// Let E be the end of an acknowledged write, forever for one that is not, and L the
// latest start of what shows it in force: itself, if acknowledged, and the Gets that
// returned it. The rules put write a below write b if E(a) < L(b). They can be
// kept unless there are two writes, each below the other: in a longer circle, of the
// two that follow its latest E one is below the other both ways. So each Get is
// checked when it ends, against the writes of its key that still matter. Those that
// are below a write that ended before everything which is still under way began are
// forgotten: whoever reads them from then on is wrong in any case. A Get that finds
// nothing is taken for the read of the Delete with the latest end, which rules out least.
// Memory grows with keys, requests under way, and writes that ended as Maybe or
// Failed, not with the length of the history.
package history
