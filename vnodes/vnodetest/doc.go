// Package vnodetest checks that a service keeps what it promises as a user of
// package vnodes. Call [Run] from a test of the service:
//
//	func TestCounterIsAVnode(t *testing.T) {
//		vnodetest.Run(t, counters, vnodetest.Inputs{
//			Commands: []ringcore.Call{{Key: []byte("a")}, {Key: []byte("a")}, {Key: []byte("b")}},
//			Queries:  []ringcore.Call{{Key: []byte("a")}},
//		})
//	}
//
// It runs the service's vnodes on a node of its own without network, and checks
// the laws that apply to what the vnode can do:
//
//   - all that counts is in the records: a restart between two commands changes no
//     reply and no record, nor does one between two queries;
//   - queries write nothing, change nothing, and may run beside commands (run the
//     test with -race);
//   - coverage items come in key order, each once, with the stamp of their record;
//     with several replicas what was there once stays, if only as deleted;
//   - an emit that fails ends Cover with its error;
//   - Merge is idempotent, commutative, associative and pure, keeps the newer stamp,
//     and leaves a record as it is when it merges one that a command has replaced by it;
//   - Resolve does not depend on the order or the repetition of replies;
//   - replicas that have taken the same effects, in whatever order, answer the same, and
//     what a coverage query or Resolve makes of two replicas is what the merged one says;
//   - a command that says that it is blind does the same on an empty vnode;
//   - a malformed request is answered with a *wire.Error: no panic, no other error.
package vnodetest
