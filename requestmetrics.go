package ringcore

import (
	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/dataplane/wire"
)

// requestMetrics count what this node has coordinated, for each service, and how long it took.
func (c *core) requestMetrics() []admin.Metric {
	operations, bytes := c.router.UnderWay()
	all := []admin.Metric{
		gauge("requests_active", "Commands and queries that this node coordinates now.", float64(operations)),
		gauge("requests_active_bytes", "Bytes of their keys and bodies.", float64(bytes)),
	}
	for _, t := range c.router.Tallies() {
		service, kind := t.Service, "command"
		if t.Op == wire.OpQuery {
			kind = "query"
		}
		for code, n := range t.Codes {
			m := counter("requests_total", "Commands and queries that this node has coordinated, by how they ended.", float64(n))
			m.Labels = map[string]string{"service": service, "kind": kind, "code": code.String()}
			all = append(all, m)
		}
		m := gauge("request_seconds", "From the arrival of a command or query at its coordinator to its answer.", t.Seconds)
		m.Labels = map[string]string{"service": service, "kind": kind}
		m.Steps = make(map[float64]uint64, len(t.Steps))
		for i, n := range t.Steps {
			m.Count += n
			if i < len(t.Steps)-1 {
				m.Steps[dataplane.StepEnd(i).Seconds()] = m.Count
			}
		}
		all = append(all, m)
	}
	return all
}
