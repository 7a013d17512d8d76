package client

import "github.com/ringcore/ringcore/dataplane/wire"

// Error is a refusal or failure with its code; find it with errors.As. errors.Is
// matches any two of one code, so the variables below serve for all that the
// cluster answers.
type Error = wire.Error

// The errors that callers tell apart.
var (
	// ErrNotFound: enough replicas know that the key has no value.
	ErrNotFound error = &Error{Code: wire.NotFound, Message: "the key has no value"}
	// ErrUnavailable: the data may exist and cannot be reached now.
	ErrUnavailable error = &Error{Code: wire.Unavailable}
	// ErrQuorum: fewer replicas answered than asked. A write may survive on those that did.
	ErrQuorum error = &Error{Code: wire.QuorumNotMet}
	// ErrMaybe: the command may or may not have run; errors.Is finds ErrDeadline besides if
	// the time was over.
	ErrMaybe error = &Error{Code: wire.Maybe}
	// ErrOverload: queues stayed full until the deadline, or were full with Config.NoBackoff.
	ErrOverload error = &Error{Code: wire.Overload}
	// ErrDiskFull: no node that could run the command has room on its disk. It did not run.
	ErrDiskFull error = &Error{Code: wire.DiskFull}
	// ErrDeadline: the time was over before the work was done.
	ErrDeadline error = &Error{Code: wire.Deadline}
	// ErrTooLarge: bucket, key or value are over the limit.
	ErrTooLarge error = &Error{Code: wire.TooLarge}
	// ErrConflict: the condition of a Put does not hold. Nothing was written.
	ErrConflict error = &Error{Code: wire.Unmet, Message: "the key is not as the condition says"}
	// ErrClosed: the Client has been closed.
	ErrClosed error = &Error{Code: wire.ShuttingDown, Message: "the client is closed"}
)
