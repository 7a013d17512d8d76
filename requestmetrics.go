package ringcore

import (
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane"
)

// requestMetrics count what is asked of this node from outside, for each service, and how long it takes.
func (c *core) requestMetrics() []admin.Metric {
	operations, bytes := c.router.UnderWay()
	all := []admin.Metric{
		gauge("requests_active", "Commands and queries that this node coordinates now.", float64(operations)),
		gauge("requests_active_bytes", "Bytes of their keys and bodies.", float64(bytes)),
	}
	for _, r := range c.router.Requests() {
		kind := "command"
		if r.Query {
			kind = "query"
		}
		for code, n := range r.Codes {
			m := counter("requests_total", "Commands and queries from outside the cluster that this node has answered, by how they ended.", float64(n))
			m.Labels = map[string]string{"service": r.Service, "kind": kind, "code": code.String()}
			all = append(all, m)
		}
		m := gauge("request_seconds", "From the arrival of such a command or query to its answer.", r.Seconds)
		m.Labels = map[string]string{"service": r.Service, "kind": kind}
		m.Steps = make(map[float64]uint64)
		for i, n := range r.Buckets {
			m.Count += n
			if end := dataplane.BucketLimit(i); i%2 == 1 && end >= shortestStep && i < dataplane.MeterBuckets-1 {
				m.Steps[end.Seconds()] = m.Count
			}
		}
		all = append(all, m)
	}
	return all
}

// shortestStep is the first step of the histogram of requests; each further one is twice the one before.
const shortestStep = 64 * time.Microsecond
