package dataplane

import (
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

func TestQuorumTable(t *testing.T) {
	if wire.MaxQuorum != ring.MaxReplicas {
		t.Errorf("a quorum may be %d of %d replicas", wire.MaxQuorum, ring.MaxReplicas)
	}
	const all, most = wire.QuorumAll, wire.QuorumMajority
	for _, x := range []struct {
		q                     wire.Quorum
		k                     int
		plain, primary, cover int
	}{
		{0, 1, 1, 0, 1},
		{0, 2, 2, 0, 1},
		{0, 3, 2, 0, 2},
		{0, 4, 3, 0, 2},
		{0, 5, 3, 0, 3},
		{0, 7, 4, 0, 4},
		{most, 1, 1, 1, 1},
		{most, 2, 2, 2, 1},
		{most, 3, 2, 2, 2},
		{most, 6, 4, 4, 3},
		{all, 1, 1, 1, 1},
		{all, 3, 3, 3, 3},
		{1, 3, 1, 1, 1},
		{3, 2, 3, 3, 3},
		{200, 3, 200, 200, 200},
	} {
		if got := [3]int{quorum(x.q, x.k), primaryQuorum(x.q, x.k), coverQuorum(x.q, x.k)}; got != [3]int{x.plain, x.primary, x.cover} {
			t.Errorf("%d of %d slots: %v, want %v", x.q, x.k, got, [3]int{x.plain, x.primary, x.cover})
		}
	}
	for k := 1; k <= ring.MaxReplicas; k++ {
		w, r := quorum(0, k), quorum(0, k)
		if w+r <= k || w+coverQuorum(0, k) != k+1 {
			t.Errorf("%d slots: W=%d R=%d, coverage reads %d", k, w, r, coverQuorum(0, k))
		}
	}
}

// Only what surely did not run may be tried elsewhere: every other code is final or unsure.
func TestJudge(t *testing.T) {
	for code := range wire.Unmet + 1 {
		v := judge(code)
		switch code {
		case wire.OK, wire.NotFound, wire.QuorumNotMet, wire.Conflict, wire.Internal, wire.Corrupt, wire.Unmet:
			if v != final {
				t.Errorf("%v is not final", code)
			}
		case wire.Overload, wire.DiskFull: // of one node, others may have room
			if v != elsewhere {
				t.Errorf("%v is not for another node", code)
			}
		case wire.Maybe:
			if v != unsure {
				t.Errorf("%v is not unsure", code)
			}
		}
	}
}
