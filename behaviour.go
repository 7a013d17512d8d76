package ringcore

import (
	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/vnodes"
)

// What a vnode may be besides a [Vnode]: each is optional, and found by its methods.
type (
	// Querier answers read-only requests, beside commands.
	Querier = vnodes.Querier
	// Coverer takes part in coverage queries.
	Coverer = vnodes.Coverer
	// Merger makes one record of two versions, where the newest stamp must not just win.
	Merger = vnodes.Merger
	// CoverMerger makes one coverage item of those of two replicas, for a Merger.
	CoverMerger = vnodes.CoverMerger
	// Resolver makes one reply of those that several replicas give to a query.
	Resolver = vnodes.Resolver
	// BlindCommander tells which commands do not read what they replace.
	BlindCommander = vnodes.BlindCommander
	// Superseder says when a Merger's record hides what a new write brings.
	Superseder = vnodes.Superseder

	// Placer tells where a record belongs whose key is not that of its commands: for backups.
	Placer = vnodes.Placer
	// Restorer says what a record of a backup is to say under its new stamp.
	Restorer = vnodes.Restorer

	// Opener is a hook: the vnode begins to serve.
	Opener = vnodes.Opener
	// HandoffStarter is a hook: the vnode's state is about to move; it may refuse for now.
	HandoffStarter = vnodes.HandoffStarter
	// HandoffCanceller is a hook: the move came to nothing.
	HandoffCanceller = vnodes.HandoffCanceller
	// HandoffFinisher is a hook: the other node serves now.
	HandoffFinisher = vnodes.HandoffFinisher
	// Dropper is a hook: the vnode's records here have been deleted.
	Dropper = vnodes.Dropper
	// Closer is a hook: the vnode stops here; its records stay.
	Closer = vnodes.Closer
)

type (
	// Stamp orders the versions of a record.
	Stamp = vnodes.Stamp
	// Quorum says how many replicas must answer: a number, One, Majority or All. The zero
	// value leaves it to the bucket, and that to the service.
	Quorum = wire.Quorum
	// CallFlags modify a Call.
	CallFlags = wire.CallFlags
	// BucketProps are the properties of a bucket: what a call to it goes by when it does
	// not say otherwise.
	BucketProps = wire.BucketProps
	// BucketChange is what is to change of them.
	BucketChange = wire.BucketChange
)

// The symbolic quorums.
const (
	One      Quorum = 1
	Majority        = wire.QuorumMajority
	All             = wire.QuorumAll
)

// The flags of a Call.
const (
	// Blind says that the command does not read what it replaces. The service is asked too.
	Blind = wire.CallBlind
	// Sloppy lets nodes count that stand in for one that is down.
	Sloppy = wire.CallSloppy
	// Strict lets none count, also with one replica.
	Strict = wire.CallStrict
)
