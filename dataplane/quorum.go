package dataplane

import (
	"fmt"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// quorum is how many of k slots must answer for q. Symbolic values are taken over
// k; a number greater than k is returned as it is, and cannot be met.
func quorum(q wire.Quorum, k int) int {
	switch q {
	case wire.QuorumDefault, wire.QuorumMajority:
		return ring.Majority(k)
	case wire.QuorumAll:
		return k
	}
	return int(q)
}

// primaryQuorum is quorum for PR and PW, whose default asks for nothing.
func primaryQuorum(q wire.Quorum, k int) int {
	if q == wire.QuorumDefault {
		return 0
	}
	return quorum(q, k)
}

// coverQuorum is how many of a partition's k slots a coverage query reads: enough
// to meet every write that a majority acknowledged, n-W+1.
func coverQuorum(q wire.Quorum, k int) int {
	if q == wire.QuorumDefault || q == wire.QuorumMajority {
		return k - ring.Majority(k) + 1
	}
	return quorum(q, k)
}

// tooMany says that more slots were asked for than there are. name is r, w, pr or pw.
func tooMany(name string, asked, k int) []byte {
	return message("%s=%d cannot be met: asked %d of %s", name, asked, asked, slotCount(k))
}

// notMet says how far a quorum was met. name is r, w, pr or pw.
func notMet(name string, reached, need, k int) []byte {
	return message("%s=%d not met: reached %d of %d (%s)", name, need, reached, need, slotCount(k))
}

// verdict is what the code of a coordinator's answer means for the request.
type verdict uint8

const (
	final     verdict = iota // the caller gets it
	elsewhere                // it surely did not run: another node may take it
	anew                     // it surely did not run: the plan was made with the wrong ring
	unsure                   // it may have run
)

// judge reads the code of a coordinator's answer.
func judge(code wire.Code) verdict {
	switch code {
	case wire.Moved, wire.Stale, wire.Behind, wire.OwnerUp:
		return anew
	case wire.Unavailable, wire.NotReadable, wire.ShuttingDown, wire.Deadline, wire.ClockAhead, wire.DiskFull, wire.Overload,
		wire.WrongCluster, wire.WrongNode, wire.NotMember:
		return elsewhere
	case wire.Maybe:
		return unsure
	}
	return final
}

// replicaFails reports whether code says that one replica could not answer a read,
// as opposed to an answer that every replica would give.
func replicaFails(code wire.Code) bool {
	switch code {
	case wire.Internal, wire.Corrupt, wire.QuorumNotMet:
		return true
	}
	return judge(code) != final
}

// slotCount names a number of slots.
func slotCount(k int) string {
	if k == 1 {
		return "1 slot"
	}
	return fmt.Sprintf("%d slots", k)
}

func message(format string, args ...any) []byte { return fmt.Appendf(nil, format, args...) }
