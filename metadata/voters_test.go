package metadata

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ringcore/ringcore/metadata/ring"
)

// electorateOf reads members: "a" valid, "a-" exiting, "a~" leaving, "a!" not up, "a!!" for long, "a=" draining;
// "a/z" in zone z. The leader is the first voter.
func electorateOf(members, voters, listeners string) electorate {
	e := electorate{voters: ids(voters), listeners: ids(listeners)}
	down, long := map[ring.NodeID]bool{}, map[ring.NodeID]bool{}
	for _, w := range strings.Fields(members) {
		w, zone, _ := strings.Cut(w, "/")
		name := strings.TrimRight(w, "-~!=")
		m := Member{ID: nodeID(name), Name: name, Zone: zone, Status: StatusValid, Draining: strings.Contains(w, "=")}
		if strings.Contains(w, "-") {
			m.Status = StatusExiting
		}
		if strings.Contains(w, "~") {
			m.Status = StatusLeaving
		}
		down[m.ID], long[m.ID] = strings.Contains(w, "!"), strings.Contains(w, "!!")
		e.members = append(e.members, m)
	}
	e.self = e.voters[0]
	e.up = func(id ring.NodeID) bool { return !down[id] }
	e.silent = func(id ring.NodeID) bool { return long[id] }
	return e
}

func ids(names string) []ring.NodeID {
	var out []ring.NodeID
	for _, w := range strings.Fields(names) {
		out = append(out, nodeID(w))
	}
	return out
}

func TestNextElectorate(t *testing.T) {
	for _, c := range []struct{ name, members, voters, listeners, want string }{
		{"one", "a", "a", "", "stay"},
		{"two need one", "a b", "a", "", "stay"},
		{"three: two listen first", "a b c", "a", "", "enlist b c"},
		{"then vote together", "a b c", "a", "b c", "promote b c"},
		{"a candidate went away while catching up", "a b c!", "a", "b c", "dismiss b"},
		{"back, it learns that it is not needed", "a b c", "a b c", "", "stay"},
		{"another takes its place", "a b c! d", "a", "b c", "enlist d"},
		{"listeners are preferred", "a b c d", "a", "b d", "promote b d"},
		{"four stay at three", "a b c d", "a b c", "", "stay"},
		{"seven need five", "a b c d e f g", "a b c", "", "enlist d e"},
		{"not more than can be had", "a b c d! e! f! g!", "a b c", "", "stay"},
		{"zones first", "a/x b/x c/y d/z", "a", "", "enlist c d"},
		{"a silent voter keeps its vote", "a b! c d", "a b c", "", "stay"},
		{"a leaver votes on", "a b~ c d", "a b c", "", "stay"},
		{"a leaver is not promoted", "a b~ c", "a", "", "stay"},
		{"an exiting voter is replaced first", "a b- c d", "a b c", "", "enlist d"},
		{"one that is gone stops voting before one that is alive", "a b", "a b x", "", "demote x b"},
		{"so does one that is down", "a b- c-! d-", "a b c", "", "demote c b"},
		{"promoted", "a b- c d", "a b c", "d", "promote d"},
		{"demoted", "a b- c d", "a b c d", "", "demote b"},
		{"dismissed", "a b- c d", "a c d", "b", "dismiss b"},
		{"three to two: a pair goes", "a b c-", "a b c", "", "demote b c"},
		{"seven to six: a pair goes, the silent one first", "a b! c d e f g-", "a b c d e", "", "demote e b"},
		{"an exiting leader hands over", "a- b c", "a b c", "", "yield b"},
		{"to one that is up", "a- b! c", "a b c", "", "yield c"},
		{"two, the leader leaves", "a- b", "a", "", "enlist b"},
		{"two, promoted", "a- b", "a", "b", "promote b"},
		{"two, handed over", "a- b", "a b", "", "yield b"},
		{"two, the new leader goes on", "a- b", "b a", "", "demote a"},
		{"long silent: another one listens", "a b c!! d", "a b c", "", "enlist d"},
		{"long silent: and takes the vote", "a b c!! d", "a b c", "d", "relieve d"},
		{"failed between the two", "a b c!! d", "a b", "c d", "promote d"},
		{"the dead one listens until it is back", "a b c!! d", "a b d", "c", "stay"},
		{"it is back", "a b c d", "a b d", "c", "dismiss c"},
		{"it leaves", "a b c!- d", "a b d", "c", "dismiss c"},
		{"long silent: nobody can take the vote", "a b c!!", "a b c", "", "stay"},
		{"long silent: nor one who is away or leaves", "a b c!! d! e~", "a b c", "", "stay"},
		{"silent for a moment", "a b c! d", "a b c", "d", "dismiss d"},
		{"no majority: nothing is changed", "a b!! c!! d", "a b c", "", "stay"},
		{"two of five are dead", "a b c d!! e!! f g", "a b c d e", "f g", "relieve f g"},
		{"one of two can be relieved", "a b c d!! e!! f g!", "a b c d e", "f", "relieve f"},
		{"three of five: nothing", "a b c!! d!! e!! f g", "a b c d e", "f g", "dismiss f g"},
		{"a draining leader hands over", "a= b= c", "a b c", "", "yield c"},
		{"to one that is up and stays", "a= b! c=", "a b c", "", "stay"},
		{"nobody to hand over to", "a- b!", "a", "", "stay"},
	} {
		got := nextElectorate(electorateOf(c.members, c.voters, c.listeners))
		text := string(got.kind)
		names := []string{}
		for _, id := range got.nodes {
			names = append(names, nodeName(id))
		}
		want := strings.Fields(c.want)
		slices.Sort(names)
		slices.Sort(want[1:])
		if text != want[0] || !slices.Equal(names, want[1:]) {
			t.Errorf("%s: %s %v, want %s", c.name, text, names, c.want)
		}
	}
}

// TestElectorateConverges: whoever comes and goes, the leader's steps end, with an
// odd number of voters that are all members.
func TestElectorateConverges(t *testing.T) {
	for n := 1; n <= 9; n++ {
		for exiting := range 1 << n {
			if exiting == 1<<n-1 {
				continue
			}
			e := electorate{up: func(ring.NodeID) bool { return true }}
			for i := range n {
				m := Member{ID: ring.NodeID(fmt.Sprint(i)), Status: StatusValid}
				if exiting>>i&1 == 1 {
					m.Status = StatusExiting
				}
				e.members = append(e.members, m)
				if i < votersFor(n) {
					e.voters = append(e.voters, m.ID)
				}
			}
			e.self = e.voters[0]
			run(t, &e)
			for _, id := range e.voters {
				if m := e.members[int(id[0]-'0')]; m.Status != StatusValid {
					t.Fatalf("n=%d exiting=%b: %s votes and is %s", n, exiting, id, m.Status)
				}
			}
			if len(e.voters)%2 == 0 || len(e.listeners) > 0 {
				t.Fatalf("n=%d exiting=%b: voters %v listeners %v", n, exiting, e.voters, e.listeners)
			}
		}
	}
}

// run carries actions out as raft would.
func run(t *testing.T, e *electorate) {
	for range 20 {
		a := nextElectorate(*e)
		switch a.kind {
		case stay:
			return
		case enlist:
			e.listeners = append(e.listeners, a.nodes...)
		case relieve:
			e.listeners = append(without(e.listeners, a.nodes), a.dead...)
			e.voters = append(without(e.voters, a.dead), a.nodes...)
		case promote:
			e.listeners, e.voters = without(e.listeners, a.nodes), append(e.voters, a.nodes...)
		case demote:
			e.voters, e.listeners = without(e.voters, a.nodes), append(e.listeners, a.nodes...)
		case dismiss:
			e.listeners = without(e.listeners, a.nodes)
		case yield:
			e.self = a.nodes[0]
		}
		if !slices.Contains(e.voters, e.self) {
			t.Fatalf("the leader %s does not vote: %v", e.self, e.voters)
		}
	}
	t.Fatalf("no end: %+v", e)
}
