package ringcore

import "github.com/ringcore/ringcore/dataplane/wire"

// Code says how a request ended, the same on the wire, in HTTP problems and in an
// [Error]. docs/errors.md says of each what it means and what to do.
type Code = wire.Code

// The codes with which a vnode may refuse a request of its own accord; see [Errorf].
// The others are the toolkit's.
const (
	CodeNotFound    = wire.NotFound    // there is no such thing
	CodeBadRequest  = wire.BadRequest  // the request is malformed
	CodeTooLarge    = wire.TooLarge    // it is over a limit
	CodeRefused     = wire.Refused     // a rule forbids it; the message says which
	CodeConflict    = wire.Conflict    // what the request relies on has changed: read and try anew
	CodeCorrupt     = wire.Corrupt     // what is stored makes no sense
	CodeUnavailable = wire.Unavailable // what is needed for the answer cannot be reached now
)

// Errorf makes an Error. A vnode that returns one gives its caller just that code and
// message; of any other error only the code "internal" and the text arrive.
func Errorf(c Code, format string, args ...any) *Error { return wire.Errorf(c, format, args...) }

// The errors that a caller tells apart, with errors.Is; they match any Error of their
// code. Of all but ErrQuorum, ErrMaybe and ErrDeadline a command surely did nothing.
var (
	// ErrNotFound is the vnode's word: there is no such thing.
	ErrNotFound error = &Error{Code: wire.NotFound}
	// ErrUnavailable: what was asked for may exist, and cannot be reached now. Try again.
	ErrUnavailable error = &Error{Code: wire.Unavailable}
	// ErrOverload: a queue is full. Try again, later and less.
	ErrOverload error = &Error{Code: wire.Overload}
	// ErrDiskFull: the nodes that could run the command have no room.
	ErrDiskFull error = &Error{Code: wire.DiskFull}
	// ErrRefused: a rule forbids it, and trying again does not help.
	ErrRefused error = &Error{Code: wire.Refused}
	// ErrQuorum: fewer replicas than asked have answered. Those that have may keep the write.
	ErrQuorum error = &Error{Code: wire.QuorumNotMet}
	// ErrMaybe: the command may or may not have run. Read what is there, or run it again if
	// twice does no harm.
	ErrMaybe error = &Error{Code: wire.Maybe}
	// ErrDeadline: the time was over before there was an answer; the command may have run.
	ErrDeadline error = &Error{Code: wire.Deadline}
)
