package vnodes

import (
	"context"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// Service is a kind of vnode that a user registers under a name: one vnode for
// each partition, on each of the first N nodes of the partition's list.
type Service struct {
	Name string
	N    int // replicas, 1 to the cluster's; the cluster's if 0. The same for all its data, for ever.
	// New makes the vnode of partition p. Records are not its business to load or save.
	New func(p ring.Partition) Vnode
}

// Vnode is what a user writes. Command is all that it must have; see Querier,
// Coverer, Merger, CoverMerger, Resolver, BlindCommander and the hooks for the rest.
type Vnode interface {
	// Command answers a command addressed to tx.Key(). It runs alone in its vnode, on
	// the vnode's goroutine; its writes through tx are atomic and durable before the
	// reply leaves. An error undoes them; a *wire.Error reaches the caller as it is,
	// any other as an internal one. cmd is valid only during the call.
	Command(tx *Tx, cmd []byte) (reply []byte, err error)
}

// Querier is a vnode with read-only requests.
type Querier interface {
	// Query answers q, addressed to tx.Key(). It runs beside commands, on any goroutine,
	// several at a time, and sees only durable records; tx refuses writes.
	Query(tx *Tx, q []byte) (reply []byte, err error)
}

// Coverer is a vnode that takes part in coverage queries.
type Coverer interface {
	// Cover emits this vnode's part of the answer to req, in key order. It runs beside
	// commands, on any goroutine. It stops when emit fails and returns that error.
	// With more than one replica every record is emitted, tombstones too, with its
	// stamp, so that the newest version of each key wins, or a CoverMerger can merge
	// them; see Tx.Ascend.
	Cover(tx *Tx, req []byte, emit func(Item) error) error
}

// Item is one piece of a coverage answer.
type Item = wire.Item

// Merger is a vnode whose records merge by a rule of its own instead of by the
// newest stamp.
type Merger interface {
	// Merge makes one record of two versions under key. It must be idempotent,
	// commutative and associative, and a pure function of its arguments. The result has
	// the newer one's stamp. What a command makes of a record must contain what was there:
	// merged with the version that it replaced, the new one stays as it is.
	Merge(key []byte, have, incoming Record) Record
}

// CoverMerger is a Merger whose coverage items merge too. Without it the newest
// version of an item wins, which is right only where the merged record's item is
// that of the newest version.
type CoverMerger interface {
	// MergeItems makes one item of two that replicas have emitted under one key in answer
	// to req: the item that Cover makes of the merged record. It may keep in values,
	// also of deleted items, whatever that takes. It must be idempotent, commutative and
	// associative, and a pure function of its arguments; the result may share their memory.
	MergeItems(req []byte, a, b Item) (Item, error)
}

// Superseder is a Merger that answers for its new writes, as the toolkit does where
// the newest stamp wins: a replica whose record hides what a new write brings says
// so, and the coordinator, whose clock then moves past that record, runs the
// command again before anybody hears that it is done.
type Superseder interface {
	// Superseded reports whether have, a replica's record under key, would hide what
	// fresh brings, a record just written elsewhere without knowing of have. It is a
	// pure function of its arguments.
	Superseded(key []byte, have, fresh Record) bool
}

// Resolver is a vnode that makes one reply of those of several replicas. Without
// it a query is answered by one replica.
type Resolver interface {
	Resolve(q []byte, replies [][]byte) (reply []byte, err error)
}

// BlindCommander tells which commands do not read what they replace, so that any
// copy of the records may run them, a fallback's too, and run them again under their
// id. Without it all commands count as reading. A service with N > 1 whose commands
// read needs a Merger; a blind command of a Merger may look at what its own copy
// holds (Tx.Held), because Merge brings together what copies make of it.
type BlindCommander interface {
	Blind(cmd []byte) bool
}

// PromptCommander tells which commands are prompt: they compute little, wait for
// nothing but what they read through their Tx, and call nobody else. A prompt command
// may run on the goroutine that has read it off a connection, which takes up the next
// request only afterwards: that spares each write the way to a goroutine of its own.
// Merge and Superseded of such a service are prompt too. A vnode's calls come one at a
// time, as ever. Without it commands never run there.
type PromptCommander interface {
	Prompt(cmd []byte) bool
}

// The hooks, each optional. They run on the vnode's goroutine, or before it
// starts and after it has ended.
type (
	// Opener is told when the vnode begins to serve.
	Opener interface {
		Opened(ctx context.Context) error
	}
	// HandoffStarter may refuse, for now, that the vnode's state moves to another node.
	HandoffStarter interface{ HandoffStarting(to ring.NodeID) error }
	// HandoffCanceller is told that the transfer came to nothing.
	HandoffCanceller interface{ HandoffCancelled(to ring.NodeID) }
	// HandoffFinisher is told that the other node serves now.
	HandoffFinisher interface{ HandoffFinished(to ring.NodeID) }
	// Dropper is told that the vnode's records here have been deleted.
	Dropper interface{ Dropped() }
	// Closer is told that the vnode stops here; its records stay.
	Closer interface{ Close() error }
)
