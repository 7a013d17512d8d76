package ring

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Partitions in a group, and in a line, of the figure.
const (
	figureGroup = 4
	figureLine  = 64
)

// Figure draws who owns what, in the form of riak_core's ring_status: a legend
// with each node's number and share of partitions, then one letter for each
// partition in groups of four. Letters follow the order of names; with more than
// 26 nodes they are numbers from 1. name gives a node's name.
func Figure(r *Ring, name func(NodeID) string) string {
	shares := Shares(r)
	nodes := make([]NodeID, 0, len(shares))
	most := 0
	for node, s := range shares {
		nodes = append(nodes, node)
		most = max(most, s.Owned)
	}
	slices.SortFunc(nodes, func(a, b NodeID) int {
		return cmp.Or(strings.Compare(name(a), name(b)), cmp.Compare(a, b))
	})
	signs := figureSigns(nodes)

	var b strings.Builder
	b.WriteString(figureRule(" Nodes "))
	for _, node := range nodes {
		owned := shares[node].Owned
		fmt.Fprintf(&b, "Node %s: %*d (%5.1f%%) %s\n", signs[node],
			len(strconv.Itoa(most)), owned, 100*float64(owned)/float64(r.Q()), name(node))
	}
	b.WriteString(figureRule(" Ring "))
	for p := range r.Q() {
		b.WriteString(signs[r.Owner(Partition(p))])
		if (p+1)%figureGroup == 0 {
			b.WriteByte('|')
		} else if len(nodes) > 26 {
			b.WriteByte(' ')
		}
		if (p+1)%figureLine == 0 || p+1 == r.Q() {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// figureRule is a line of 79 columns with title in its middle.
func figureRule(title string) string {
	const columns, left = 79, 36
	return strings.Repeat("=", left) + title + strings.Repeat("=", columns-left-len(title)) + "\n"
}

// figureSigns gives each node its letter, or its number padded to one width.
func figureSigns(nodes []NodeID) map[NodeID]string {
	signs := make(map[NodeID]string, len(nodes))
	width := len(strconv.Itoa(len(nodes)))
	for i, node := range nodes {
		if len(nodes) <= 26 {
			signs[node] = string(rune('a' + i))
		} else {
			signs[node] = fmt.Sprintf("%*d", width, i+1)
		}
	}
	return signs
}
