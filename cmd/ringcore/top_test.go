package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ringcore/ringcore/admin"
)

// A node that was started anew between two looks counts from 0: it has no rates, and no huge ones.
func TestTopRestart(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	load := func(n uint64, seconds int) *topLook {
		return &topLook{
			status: admin.StatusView{Members: []admin.MemberView{{Name: "n1", Status: "valid", Up: true}}},
			load: admin.LoadView{At: at.Add(time.Duration(seconds) * time.Second), BucketUS: []float64{10}, Nodes: []admin.NodeLoad{
				{Node: "n1", Queries: admin.RequestsView{Count: n, Buckets: []uint64{n}}, CPUSeconds: float64(n)},
			}},
		}
	}
	before, after := load(1000, 0), load(10, 2)
	if n := between(before, after).Nodes[0]; n.Requests != nil || n.CPU != nil || n.P99 != nil || n.Queue == nil {
		t.Errorf("started anew: %+v", n)
	}
	if n := between(after, load(30, 4)).Nodes[0]; *n.Requests != 10 || *n.CPU != 1000 || *n.P99 > 10 {
		t.Errorf("two seconds later: %+v", n)
	}
	if n := between(after, after).Nodes[0]; n.Requests != nil {
		t.Errorf("no time between: %+v", n)
	}
}

func TestQuantile(t *testing.T) {
	limits := []float64{10, 20, 40}
	for _, c := range []struct {
		counts []uint64
		q      float64
		want   float64
	}{{[]uint64{4}, 0.5, 5}, {[]uint64{0, 10}, 0.5, 15}, {[]uint64{5, 0, 5}, 0.9, 36}, {[]uint64{0, 0, 0, 1}, 1, 60}} {
		if got := quantile(c.counts, limits, c.q); got == nil || *got != c.want {
			t.Errorf("%v at %v: %v, want %v", c.counts, c.q, got, c.want)
		}
	}
	if got := quantile([]uint64{0, 0}, limits, 0.5); got != nil {
		t.Errorf("of nothing: %v", *got)
	}
}

// topNodes is a view of so many nodes; the later ones have more to do.
func topNodes(n int) *topView {
	v := &topView{Healthy: false, Reasons: []string{"a", "b", "c", "d", "e"}}
	for i := range n {
		v.Nodes = append(v.Nodes, topNode{Node: fmt.Sprintf("n%02d\x1b[2J", i), Status: "valid", Requests: new(float64(i)), Queue: new(0)})
	}
	for i := range 20 {
		v.Transfers = append(v.Transfers, topTransfer{Kind: "move", Partition: i})
	}
	return v
}

// Whatever its size, the screen is not overrun, ends with how to leave, and shows nothing that moves the cursor.
func TestTopFitsTheScreen(t *testing.T) {
	for _, size := range [][2]int{{200, 60}, {80, 24}, {40, 10}, {10, 3}, {1, 1}} {
		u := &topUI{view: topNodes(50), sort: topSort{nodes: -1, vnodes: -1}}
		frame := u.frame(size[0], size[1])
		if len(frame) > size[1] {
			t.Errorf("%v: %d lines", size, len(frame))
		}
		for _, line := range frame {
			if n := utf8.RuneCountInString(strings.TrimPrefix(line, "\t")); n > size[0] || strings.Contains(line, "\x1b") {
				t.Errorf("%v: %q", size, line)
			}
		}
		if last := frame[len(frame)-1]; !strings.HasPrefix("q quit   < > sort by", last[:min(len(last), 20)]) {
			t.Errorf("%v: the last line is %q", size, last)
		}
	}
	if frame := (&topUI{view: topNodes(50)}).frame(200, 40); !slices.ContainsFunc(frame, func(l string) bool { return strings.HasPrefix(l, "… and ") }) {
		t.Errorf("not all nodes fit, and nothing says so:\n%s", strings.Join(frame, "\n"))
	}
}

func TestTopKeys(t *testing.T) {
	u := &topUI{view: topNodes(3), sort: topSort{nodes: -1, vnodes: -1}}
	first := func() string {
		frame := u.frame(200, 60)
		i := slices.IndexFunc(frame, func(l string) bool { return strings.HasPrefix(l, "\t") })
		return frame[i+1][:3]
	}
	press := func(keys string) {
		for _, k := range keysIn([]byte(keys)) {
			if u.key(k) {
				t.Fatalf("%q ends it", keys)
			}
		}
	}
	for _, c := range []struct{ keys, want string }{
		{"", "n00"}, {"\x1b[C", "n00"} /* by name */, {">>", "n02"} /* by requests */, {"r", "n00"}, {"r\x1b[D\x1b[D", "n00"}, {"<<<<", "n00"}, {strings.Repeat(">", 99), "n00"},
	} {
		if press(c.keys); first() != c.want {
			t.Errorf("after %q %s is first, want %s", c.keys, first(), c.want)
		}
	}
	if press("v"); !u.vnodes || u.key('q') != true || u.key(keyInterrupt) != true {
		t.Error("v shows vnodes, q and Ctrl-C end it")
	}
	if keys := keysIn([]byte("a\x1b[5~b\x1b[1;5Cc\x1bOC")); string(keys) != "abc"+string(keyRight) {
		t.Errorf("keys %q", string(keys))
	}
}
