// Package vnodes runs a node's vnodes: it defines the behaviour that users
// write, keeps its records, and moves them between nodes.
//
// The nouns: a [Service] is a kind of vnode; a [Vnode] serves one partition of a
// service on one node; a [Record] is what it holds under a key, ordered among
// its versions by a [Stamp]; a [Store] keeps records; the [Manager] owns all
// vnodes of a node, hands them requests and moves their state when the ring says so.
//
// Each vnode has one worker goroutine, owned by the Manager, which runs its
// commands one after another. Queries run beside it on snapshots.
//
// The package never decides ownership, and imports neither metadata nor dataplane.
package vnodes
