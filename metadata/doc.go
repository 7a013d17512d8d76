// Package metadata keeps what the whole cluster must agree on: who its members
// are, who holds which partition, and what is moving. A small raft group orders
// [Command] values; the pure function step turns one [State] into the next; every
// node publishes the newest State that it has seen.
//
// The nouns: a [Member] is a node as the cluster knows it, a [Transfer] is one
// step of one partition's list under way, an [Ended] is what became of one, a
// [Store] is a node's copy of it all and its door to the leader.
//
// Goroutines, all owned by the Store and waited for in [Store.Close]: persist
// writes state.json; follow polls other members while raft does not deliver;
// announce commits this node's new addresses; lead and govern act only while this
// node is raft's leader, the first on the ring, the second on raft's voters. Raft's
// own goroutines end with it.
//
// The package never decides whether a node is alive (it is told, by Config.Up),
// never moves data, and never imports dataplane or vnodes.
package metadata
