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
// A Node owns every goroutine that it starts, and Close waits for them.
package ringcore
