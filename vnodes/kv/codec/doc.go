// Package codec is how the key/value service writes down its commands, queries,
// replies and records. It does no I/O, starts no goroutine and asks no clock, so
// that clients share it with the vnodes.
//
// The nouns: a [Command] changes one key; a [QueryOp] asks about one; a [Result]
// is what a replica knows of a key; an [Envelope] is a stored value with its time
// of expiry; an [Object] is several of them, with what has been seen of the writes
// behind them, and a [Context] is that for who has read them; a [Stored] is a record,
// of either form; a [Cover] asks every vnode for the keys or values of a bucket.
//
// Every decoder returns a *wire.Error: BadRequest for what a caller sent,
// Corrupt for what was stored or answered. Decoded slices share the input's memory.
package codec
