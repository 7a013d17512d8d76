package admin

import (
	"fmt"
	"slices"

	"github.com/ringcore/ringcore/metadata/ring"
)

// stuckSeconds is after how long a transfer with which nothing happens is told as stuck.
// The leader gives it up later.
const stuckSeconds = 30

// driver is the node that carries the transfer out; empty if that is not one of the ring's steps.
func (t *TransferView) driver() string {
	switch ring.StepKind(t.Kind) {
	case ring.StepMove, ring.StepSwap, ring.StepDrop:
		return t.From
	case ring.StepAdd:
		return t.To
	}
	return ""
}

// waitForStuck says which nodes, though they are up, do not get on with their transfers.
func (s *StatusView) waitForStuck() {
	partitions, longest := map[string]int{}, map[string]int64{}
	var nodes []string
	for i := range s.Transfers.Active {
		t := &s.Transfers.Active[i]
		node := t.driver()
		up := slices.ContainsFunc(s.Members, func(m MemberView) bool { return m.Name == node && m.Up })
		if t.StillS < stuckSeconds || !up {
			continue
		}
		if partitions[node] == 0 {
			nodes = append(nodes, node)
		}
		partitions[node]++
		longest[node] = max(longest[node], t.StillS)
	}
	slices.Sort(nodes)
	for _, node := range nodes {
		about := fmt.Sprintf("%s that it drives are stuck: nothing has happened for %d s", counted(partitions[node], "transfer"), longest[node])
		s.Causes = append(s.Causes, Cause{"transfer", Degraded, node, fmt.Sprintf("%s of %s are stuck", counted(partitions[node], "transfer"), node)})
		help := "see its log for a vnode or a disk that hangs, and start it again: its transfers are begun anew"
		s.Waiting = append(s.Waiting, WaitView{For: node, Partitions: partitions[node], About: about, Help: help})
	}
}
