package kv

import "github.com/ringcore/ringcore/vnodes/kv/codec"

// What callers of a KV write, under its roof.
type (
	// Cond says when PutIf stores, and how.
	Cond = codec.Cond
	// Context is what a reader of a key has seen.
	Context = codec.Context
)

// The conditions of PutIf; they may be joined with |.
const (
	IfAbsent    = codec.IfAbsent    // only if there is no value
	IfExists    = codec.IfExists    // only if there is one
	KeepTTL     = codec.KeepTTL     // the new value expires when the old one would have
	IfUnchanged = codec.IfUnchanged // only if Options.Context has seen all that was written
)
