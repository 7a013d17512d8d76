package metadata

import (
	"errors"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// TestFollowerIsAdmittedWithoutALeader: a member that follows a recovery gets a State from
// any node while nobody leads; nobody else does, nor one that is no member there.
func TestFollowerIsAdmittedWithoutALeader(t *testing.T) {
	c := newCluster(t)
	n1 := c.birth("n1", 8)
	c.leader()
	n2 := c.join("n2", n1)
	n2.settled(2, 1)
	n1.kill()
	admit := func(name string, follow bool) (*State, error) {
		reply, err := n2.store.Admit(t.Context(), JoinRequest{Member: testMember(name), Follow: follow})
		if err != nil {
			return nil, err
		}
		return Decode(reply.State)
	}
	for _, x := range []struct {
		name   string
		follow bool
	}{{"n1", false}, {"stranger", true}} {
		if _, err := admit(x.name, x.follow); !errors.Is(err, &wire.Error{Code: wire.Unavailable}) {
			t.Errorf("%s, follows %t: %v", x.name, x.follow, err)
		}
	}
	if st, err := admit("n1", true); err != nil || st.Epoch != n2.store.State().Epoch || st.GossipKey == nil {
		t.Errorf("a member that follows: %+v, %v", st, err)
	}
}
