// Package ringcore is riak_core for Go: a toolkit for services that spread their
// work and their state over a ring of virtual nodes.
//
// Write a [Vnode], register it as a [Service] in a node's [Config], and [Open] the
// node: commands are routed by key hash to the vnode that serves the key's
// partition, records are kept durably and replicated, and they move along when
// nodes join, leave, fail and return.
//
// The nouns: a [Node] is one member of a cluster, with a data directory; a
// [Service] is a kind of vnode; a [Vnode] answers the commands of one partition
// through a [Tx], its access to its records; a [Call] is addressed to a key.
//
// # What a vnode can be
//
// A Vnode has one method, Command. Everything else is optional and found by the methods
// that its type has: a [Querier] answers queries, a [Coverer] its part of what is asked of
// the whole ring, a [Merger] brings versions of a record together, a [Resolver] replies of
// several replicas; a [BlindCommander] says what may run on any copy; [Opener],
// [HandoffStarter] and the others are hooks. Package typed makes a vnode of functions with
// Go arguments and replies; package vnodetest checks that a vnode keeps its laws.
//
// # Calling it
//
// [Node.Command], [Node.Query] and [Node.Cover] reach any service from any node; package
// client does the same from programs that are no nodes. [Node.KV] is the key/value service
// that every node brings. [Node.Admin] is the cluster's operation.
//
// # Errors
//
// What a call fails with is an *[Error] with a [Code]; errors.Is with [ErrUnavailable],
// [ErrMaybe] and the other variables tells what to do. docs/errors.md has all codes.
//
// A Node owns every goroutine that it starts, and Close waits for them.
package ringcore
