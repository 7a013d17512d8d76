package wire

import "fmt"

// Code says how a request ended. The numbers travel between nodes of different
// versions and to clients: append only, never reuse.
type Code uint8

// The codes. HTTP statuses and texts are in the table below.
const (
	OK           Code = 0
	NotFound     Code = 1  // the service says that there is no such thing
	BadRequest   Code = 2  // malformed, unknown service, unknown operation
	TooLarge     Code = 3  // key, value or frame over the limit
	Moved        Code = 4  // this node no longer serves the slot; the header's epoch says which ring to fetch
	Stale        Code = 5  // planned for a replica set that was rebuilt since: plan anew
	Behind       Code = 6  // this node could not fetch the ring that the request was planned with
	Unavailable  Code = 7  // the data may exist but cannot be reached now
	NotReadable  Code = 8  // the slot is catching up: it takes effects and does not count for reads
	QuorumNotMet Code = 9  // fewer replicas than asked
	Overload     Code = 10 // a queue is full; back off
	Deadline     Code = 11 // the deadline passed before the work was done
	Maybe        Code = 12 // the command may or may not have run
	Superseded   Code = 13 // the replica holds a newer stamp than this new write brings: the body
	ClockAhead   Code = 14 // the stamp is too far ahead of the receiver's clock
	OwnerUp      Code = 15 // a fallback was asked although it can reach the owner
	WrongCluster Code = 16
	WrongNode    Code = 17 // the connection reached another node than it was meant for
	NotMember    Code = 18 // the caller's node is no member of this cluster
	Refused      Code = 19 // a rule forbids it; the message says which and what to do
	NotLeader    Code = 20 // the body names the leader if one is known
	Conflict     Code = 21 // compare failed: plan, session or epoch changed
	Corrupt      Code = 22 // stored data failed its checksum
	Internal     Code = 23 // a bug: panic in a vnode, broken invariant
	NotSupported Code = 24 // known, but not in this version
	ShuttingDown Code = 25
	DiskFull     Code = 26 // no room on the disk: it surely did not run
	Unmet        Code = 27 // the condition of a conditional write does not hold: nothing was written
	DataLoss     Code = 28 // the change would lose data for good, and the caller has not accepted that
	codesEnd     Code = 29
)

var codeTable = [codesEnd]struct {
	name   string
	status int
}{
	OK:           {"ok", 200},
	NotFound:     {"not_found", 404},
	BadRequest:   {"bad_request", 400},
	TooLarge:     {"too_large", 413},
	Moved:        {"moved", 503},
	Stale:        {"stale", 503},
	Behind:       {"behind", 503},
	Unavailable:  {"unavailable", 503},
	NotReadable:  {"not_readable", 503},
	QuorumNotMet: {"quorum_not_met", 503},
	Overload:     {"overload", 503},
	Deadline:     {"deadline", 504},
	Maybe:        {"maybe", 503},
	Superseded:   {"superseded", 503},
	ClockAhead:   {"clock_ahead", 503},
	OwnerUp:      {"owner_up", 503},
	WrongCluster: {"wrong_cluster", 409},
	WrongNode:    {"wrong_node", 409},
	NotMember:    {"not_member", 403},
	Refused:      {"refused", 409},
	NotLeader:    {"not_leader", 503},
	Conflict:     {"conflict", 409},
	Corrupt:      {"corrupt", 500},
	Internal:     {"internal", 500},
	NotSupported: {"not_supported", 501},
	ShuttingDown: {"shutting_down", 503},
	DiskFull:     {"disk_full", 507},
	Unmet:        {"condition_not_met", 412},
	DataLoss:     {"data_loss", 409},
}

// String is the code's stable name, as in HTTP problem documents.
func (c Code) String() string {
	if c < codesEnd {
		return codeTable[c].name
	}
	return fmt.Sprintf("code_%d", uint8(c))
}

// HTTPStatus is the status with which HTTP answers the code.
func (c Code) HTTPStatus() int {
	if c < codesEnd {
		return codeTable[c].status
	}
	return 500
}

// Error is a refusal or failure as it travels: a code for machines, a message
// for people. errors.Is matches any two Errors of one code.
type Error struct {
	Code    Code
	Message string
	Epoch   uint64 // with Moved, Stale, Behind: the ring epoch of the node that answered
}

// Errorf makes an Error.
func Errorf(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Message
}

// Is makes errors.Is compare by code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}
