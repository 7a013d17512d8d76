// Package wire is what travels between nodes and from clients: frames, their
// header, operations, message bodies and error codes. It does no I/O beyond
// reading and writing one frame, starts no goroutine and asks no clock.
//
// The nouns: a [Frame] is a fixed [Header] and an opaque body; an [Op] says what
// a request asks for; a [Code] says how it ended.
package wire
