// Package kv is the key/value service: a vnode like any user's, and the doors
// through which HTTP and Redis clients reach it. Nothing in the toolkit knows of it.
//
// The nouns: [Service] is what a node registers; a [KV] puts, gets, deletes and
// lists through a [Cluster], which is what it needs of a node; [KV.HTTPHandler]
// and [RESP] are the doors. What travels and what is stored lies in package codec.
//
// Last write wins: of two writes to one key the one with the newest stamp stays.
// With one replica a conditional command is exact, because one vnode runs it alone;
// with more it is a read followed by a write, and two of them may both succeed.
//
// KV starts goroutines only within a call and waits for them. A RESP server owns
// one goroutine per connection and waits for them in Serve.
package kv
