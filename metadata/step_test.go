package metadata

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/ringcore/ringcore/metadata/ring"
)

// Scripts speak of nodes by their names; the id of node x is "id-x".
func nodeID(name string) ring.NodeID { return ring.NodeID("id-" + name) }

func nodeName(id ring.NodeID) string { return strings.TrimPrefix(string(id), "id-") }

// testMember is node name as it would present itself.
func testMember(name string) Member {
	return Member{ID: nodeID(name), Name: name, Addr: name + ":1", GossipAddr: name + ":2", Weight: 1, Caps: Claims([]Capability{Metadata()})}
}

// TestScripts runs the stories in testdata: each command goes through step, and
// the answer is what changed.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		story := &story{down: map[ring.NodeID]bool{}}
		datadriven.RunTest(t, path, story.run)
	})
}

// story is the State that a script has reached.
type story struct {
	t        *testing.T
	s        *State
	down     map[ring.NodeID]bool
	sessions int
	reqID    string
}

func (y *story) run(t *testing.T, d *datadriven.TestData) string {
	y.t = t
	y.reqID = ""
	if d.HasArg("req") {
		d.ScanArgs(t, "req", &y.reqID)
	}
	name := func(key string) (v string) { d.ScanArgs(t, key, &v); return v }
	switch d.Cmd {
	case "birth":
		q, n := 8, 3
		d.MaybeScanArgs(t, "q", &q)
		d.MaybeScanArgs(t, "n", &n)
		s := Birth(testMember(name("node")), q, n)
		s.ClusterID = "c1"
		return y.step(birthCommand(s))
	case "join", "address":
		return y.step(y.memberCommand(d))
	case "leave", "exit", "left", "down", "up":
		return y.step(Command{Op: d.Cmd, Node: nodeID(name("node"))})
	case "voters":
		var ids []ring.NodeID
		for _, w := range strings.Fields(d.Input) {
			ids = append(ids, nodeID(w))
		}
		return y.step(votersCommand(ids))
	case "rebalance":
		return y.step(y.rebalanceCommand(d))
	case "begin":
		return y.step(y.beginCommand(d))
	case "commit", "abort":
		return y.step(y.endCommand(d))
	case "settle":
		return y.step(settleCommand())
	case "bucket":
		return y.step(y.bucketCommand(d))
	case "raw":
		return y.step(Command{Op: name("op"), Version: 1})
	}
	return y.leaderOrQuery(d)
}

// leaderOrQuery runs what is not a single command.
func (y *story) leaderOrQuery(d *datadriven.TestData) string {
	switch d.Cmd {
	case "state":
		return y.describe()
	case "buckets":
		b, err := json.Marshal(y.s.Buckets)
		if err != nil {
			y.t.Fatal(err)
		}
		return string(b) + "\n"
	case "ring":
		return y.lists()
	case "unreachable":
		y.down = map[ring.NodeID]bool{}
		for _, w := range strings.Fields(d.Input) {
			y.down[nodeID(w)] = true
		}
		return "ok\n"
	case "decide": // what the leader would propose
		limit := 8
		d.MaybeScanArgs(y.t, "limit", &limit)
		var b strings.Builder
		for _, c := range y.decide(limit, nil) {
			b.WriteString(summary(&c))
		}
		return or(b.String(), "nothing\n")
	case "lead": // the leader works until it waits for somebody
		return y.lead(false)
	case "converge": // ... and every driver commits at once
		return y.lead(true)
	case "outcome":
		var session string
		d.ScanArgs(y.t, "session", &session)
		committed, known := y.s.Outcome(session)
		return fmt.Sprintf("committed=%t known=%t\n", committed, known)
	}
	y.t.Fatalf("unknown script command %q", d.Cmd)
	return ""
}

func or(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}

func (y *story) bucketCommand(d *datadriven.TestData) Command {
	var c Command
	if err := json.Unmarshal([]byte(d.Input), &c.Props); err != nil {
		y.t.Fatal(err)
	}
	d.ScanArgs(y.t, "name", &c.Bucket)
	return Bucket(c.Bucket, *c.Props)
}

func (y *story) memberCommand(d *datadriven.TestData) Command {
	var name string
	d.ScanArgs(y.t, "node", &name)
	m := testMember(name)
	if d.HasArg("id") {
		var id string
		d.ScanArgs(y.t, "id", &id)
		m.ID = nodeID(id)
	}
	d.MaybeScanArgs(y.t, "addr", &m.Addr)
	d.MaybeScanArgs(y.t, "zone", &m.Zone)
	d.MaybeScanArgs(y.t, "incarnation", &m.Incarnation)
	return Command{Op: d.Cmd, Member: &m}
}

// rebalanceCommand takes Claim's lists, or the one list of the script for all partitions.
func (y *story) rebalanceCommand(d *datadriven.TestData) Command {
	basis := uint64(y.s.Roster)
	d.MaybeScanArgs(y.t, "basis", &basis)
	if d.Input == "" {
		return rebalanceCommand(ring.Epoch(basis), plan(y.s))
	}
	target := make([][]ring.NodeID, y.s.Ring.Q())
	for p := range target {
		for _, w := range strings.Fields(d.Input) {
			target[p] = append(target[p], nodeID(w))
		}
	}
	return rebalanceCommand(ring.Epoch(basis), target)
}

// beginCommand begins the next step of a partition, or the step of the script.
func (y *story) beginCommand(d *datadriven.TestData) Command {
	var p int
	d.ScanArgs(y.t, "p", &p)
	session := fmt.Sprintf("s%d", y.sessions+1)
	y.sessions++
	d.MaybeScanArgs(y.t, "session", &session)
	var step ring.Step
	if y.s.Target != nil && p < y.s.Ring.Q() {
		step, _ = y.s.nextStep(ring.Partition(p))
	}
	if f := strings.Fields(d.Input); len(f) == 4 { // kind slot from to
		slot, _ := strconv.Atoi(f[1])
		step = ring.Step{Kind: ring.StepKind(f[0]), Partition: ring.Partition(p), Slot: slot, From: nodeID(f[2]), To: nodeID(f[3])}
	}
	return beginCommand([]Transfer{{ID: session, Step: step}})
}

func (y *story) endCommand(d *datadriven.TestData) Command {
	var session, by string
	d.ScanArgs(y.t, "session", &session)
	t := Transfer{ID: session}
	if i := y.s.open(session); i >= 0 {
		t = y.s.Transfers[i]
	}
	by = nodeName(t.Driver())
	d.MaybeScanArgs(y.t, "by", &by)
	if d.HasArg("to") {
		var to string
		d.ScanArgs(y.t, "to", &to)
		t.To = nodeID(to)
	}
	if d.Cmd == "abort" {
		return Abort(&t, "asked to")
	}
	return Commit(&t, nodeID(by))
}

// step applies c and says what became of it.
func (y *story) step(c Command) string {
	c.Version, c.ReqID = CommandVersion, y.reqID
	old := y.s
	next, err := step(old, &c)
	y.s = next
	if err != nil {
		return err.Error() + "\n"
	}
	if next == old {
		return "unchanged\n"
	}
	return fmt.Sprintf("epoch %d\n", next.Epoch)
}

func (y *story) decide(limit int, stalled func(*Transfer) bool) []Command {
	if stalled == nil {
		stalled = func(*Transfer) bool { return false }
	}
	return decide(limited(y.s, limit), view{
		up: func(id ring.NodeID) bool { return !y.down[id] }, stalled: stalled,
		session: func() string { y.sessions++; return fmt.Sprintf("s%d", y.sessions) },
	})
}

// limited is s with limits.
func limited(s *State, limit int) *State {
	c := *s
	c.Limits = &Limits{In: limit, Out: limit, Pair: limit}
	return &c
}

// lead applies what the leader decides until it decides nothing; with commits,
// every open transfer whose nodes are up takes place.
func (y *story) lead(commits bool) string {
	counts := map[string]int{}
	for range 10_000 {
		cs := y.decide(8, nil)
		if len(cs) == 0 && commits {
			for i := range y.s.Transfers {
				t := y.s.Transfers[i]
				if !slices.ContainsFunc(needs(y.s, t.Step), func(id ring.NodeID) bool { return y.down[id] }) {
					cs = append(cs, Commit(&t, t.Driver()))
				}
			}
		}
		if len(cs) == 0 {
			return fmt.Sprintf("rebalance=%d begin=%d commit=%d settle=%d\n",
				counts[opRebalance], counts[opBegin], counts[opCommit], counts[opSettle])
		}
		for _, c := range cs {
			c.Version = CommandVersion
			next, err := step(y.s, &c)
			if err != nil {
				return fmt.Sprintf("%s: %v\n", c.Op, err)
			}
			y.s = next
			counts[c.Op] += max(1, len(c.Begin))
		}
	}
	return "no end\n"
}

func summary(c *Command) string {
	switch c.Op {
	case opBegin:
		var b strings.Builder
		for _, t := range c.Begin {
			fmt.Fprintf(&b, "begin %s %s p%d slot %d %s>%s\n", t.ID, t.Kind, t.Partition, t.Slot, nodeName(t.From), nodeName(t.To))
		}
		return b.String()
	case opAbort:
		return fmt.Sprintf("abort %s\n", c.Session)
	}
	return c.Op + "\n"
}

// describe is the State without the ring's lists.
func (y *story) describe() string {
	var b strings.Builder
	s := y.s
	fmt.Fprintf(&b, "epoch %d, ring %d, settled=%t\n", s.Epoch, s.Ring.Epoch, s.Settled())
	shares := ring.Shares(s.Ring)
	for i := range s.Members {
		m := &s.Members[i]
		fmt.Fprintf(&b, "%s %s %s", m.Name, m.Status, or(m.Addr, "-"))
		if m.Voter {
			b.WriteString(" voter")
		}
		fmt.Fprintf(&b, " owned=%d slots=%d\n", shares[m.ID].Owned, shares[m.ID].Slots)
	}
	for i := range s.Transfers {
		t := &s.Transfers[i]
		fmt.Fprintf(&b, "%s %s p%d slot %d %s>%s gen %d begun %d\n", t.ID, t.Kind, t.Partition, t.Slot, nodeName(t.From), nodeName(t.To), t.Gen, t.Begun)
	}
	return b.String()
}

// lists is the ring: a line for each partition.
func (y *story) lists() string {
	var b strings.Builder
	for p, a := range y.s.Ring.Assignments {
		fmt.Fprintf(&b, "%d gen %d:", p, a.Gen)
		for _, x := range a.Replicas {
			b.WriteString(" " + nodeName(x.Node))
			if x.CatchingUp {
				b.WriteString("*")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
