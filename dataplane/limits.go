package dataplane

import "time"

// Bounds of what a node does for all its callers together.
const (
	maxOperations     = 32 << 10  // commands and queries under way, twice a peer's
	maxOperationBytes = 256 << 20 // of their keys and bodies
	maxCovers         = 64        // coverage queries that it coordinates
	maxCoverParts     = 1024      // parts of others' coverage queries, each on a connection of its own
)

// Bounds of one connection, whichever side of it this node is on. Those of a
// peer's connection are for all that a whole node has under way with another.
const (
	maxHello        = 4 << 10 // bytes of a hello's body
	maxStrangerBody = 1 << 20 // bytes of a request of a node that is no member

	maxQueued           = 16 << 20  // bytes that wait to be written; one frame may go past it
	maxLinger           = 64 << 10  // of the same: no frame lingers behind so many
	maxChunksQueued     = 256 << 10 // of the same, when a chunk of a long answer is to be added
	maxPeerQueued       = 64 << 20  // of the same, to or from a peer
	maxRequestBytes     = 64 << 20  // bytes of the requests under way on an accepted connection
	maxPeerRequestBytes = 256 << 20 // of the same, from a peer
	longAnswers         = 4         // times maxQueued: past it an answer longer than shortAnswer is dropped
	shortAnswer         = 4 << 10

	keepBuffer = 1 << 20 // a longer write buffer is given back after use
	readBuffer = 64 << 10
	writePiece = 128 << 10 // of a long batch, is given to the kernel at once

	defaultMaxConns        = 4096
	defaultMaxInFlight     = 1024
	defaultMaxPeerInFlight = 16 << 10
)

// Times. They count from the monotonic clock only.
const (
	defaultHelloTimeout = 5 * time.Second
	defaultDialTimeout  = time.Second
	strangerTimeout     = 10 * time.Second     // of CallStranger, unless its context says less
	writeTimeout        = 30 * time.Second     // for one write: then the other side has stopped reading
	writeWaited         = 5 * time.Millisecond // for one write: then it waited for the other side to read

	tendEvery  = 50 * time.Millisecond  // how late a deadline or a hung peer may be noticed
	redialWait = 250 * time.Millisecond // between two attempts to reach a peer that is not up
	pingAfter  = 250 * time.Millisecond // of silence: the peer is asked for a sign of life
	hungAfter  = 900 * time.Millisecond // of the same, if it was asked that long ago: the connection is given up
)

// What a node asks of peers of which nobody wants anything, however many there are: so what
// an idle cluster says does not grow with the square of its nodes. For up to eleven nodes this
// is no bound.
const (
	idlePings   = 2 // in a tendEvery, for a sign of life
	clocksAsked = 8 // in a clockEvery, for the time
)
