package admin

import "fmt"

// Cause is one thing that an operator should see to.
type Cause struct {
	Kind     string `json:"kind"`           // member, leader, partition, vnode, transfer or check: what it is about
	Severity string `json:"severity"`       // degraded: all requests are served; unavailable: some cannot be
	Node     string `json:"node,omitempty"` // the one that it is about, if it is one
	About    string `json:"about"`          // in words
}

// The severities of a Cause.
const (
	Degraded    = "degraded"
	Unavailable = "unavailable"
)

// wrong lists what an operator should see to.
func (s *StatusView) wrong(leader bool) []Cause {
	causes := []Cause{}
	add := func(kind, severity, node, format string, args ...any) {
		causes = append(causes, Cause{kind, severity, node, fmt.Sprintf(format, args...)})
	}
	for _, m := range s.Members {
		switch {
		case m.Status == "left":
		case m.Status == "down":
			add("member", Degraded, m.Name, "%s is marked as down", m.Name)
		case !m.Up:
			add("member", Degraded, m.Name, "%s cannot be reached", m.Name)
		}
	}
	if !leader {
		add("leader", Degraded, "", "no leader is known: nothing can be changed")
	}
	if n := len(s.Live.Unreadable); n > 0 {
		add("partition", Unavailable, "", "no replica lives of %s: that data is unavailable", counted(n, "partition"))
	}
	if n := len(s.Live.Minority) - len(s.Live.Unreadable); n > 0 {
		add("partition", Unavailable, "", "no majority lives of %s: requests of a majority fail there", counted(n, "partition"))
	}
	if s.Live.Short > 0 {
		add("partition", Degraded, "", "too few replicas live of %s", counted(s.Live.Short, "partition"))
	}
	for _, x := range s.Slots {
		if x.State == "lost" || x.Reason != "" {
			add("vnode", Degraded, x.Node, "%s of service %s on %s cannot be read there", counted(len(x.Partitions), "partition"), x.Service, x.Node)
		}
	}
	for _, c := range s.Checks {
		if c.Name != "leader" && c.Name != "member" { // told above, for the whole cluster
			add("check", Degraded, c.Node, "check %s of %s fails", c.Name, c.Node)
		}
	}
	return causes
}
