// Package dataplane carries requests between nodes and from clients to vnodes:
// connections, gossip, liveness, routing, quorums and coverage.
//
// The nouns of its transport half:
//
//   - a [Server] answers the connections of one TCP port, whose first byte says
//     what each is for; it hands a [Request] to a [Handler], a bulk [Stream] to a
//     [StreamHandler], raft's connections to a listener;
//   - [Peers] are the other nodes as seen from here: one multiplexed connection to
//     each, made when it is first needed, and a Stream for whatever is bulky;
//   - [Gossip] hears which nodes are probably alive, where, and at which epoch; it
//     never decides ownership;
//   - [Liveness] weighs what gossip says and what requests have met, and says who
//     is up.
//
// Goroutines: a Server owns the goroutines of each accepted connection, Peers
// two for each dialled one and one that tends them all, Gossip one that calls
// its callbacks. Each Close closes what it owns and waits for it.
//
// A connection has one writer, which sends in one call whatever was queued while
// it wrote the last time, and one reader. There is neither a goroutine nor a timer for a
// request. Every queue has a bound; what happens when it is full is said where it is.
//
// The package never changes who owns what, and trusts nothing it reads: not the
// first byte, not a length, not who a peer says it is before the hello is checked.
package dataplane
