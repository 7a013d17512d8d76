package ringcore

import (
	"time"

	"github.com/ringcore/ringcore/admin"
	"github.com/ringcore/ringcore/dataplane"
	"github.com/ringcore/ringcore/metadata"
)

// raftMetrics tell how raft does on this node.
func raftMetrics(f *metadata.Figures) []admin.Metric {
	return []admin.Metric{
		gauge("raft_voter", "1 on the nodes that vote in the raft group.", oneIf(f.Voter)),
		gauge("raft_leader_known", "1 while this node knows who leads the raft group.", oneIf(f.LeaderKnown)),
		gauge("raft_term", "Raft's term here, which every election raises.", float64(f.Term)),
		gauge("raft_last_index", "Newest entry of raft's log here.", float64(f.Last)),
		gauge("raft_commit_index", "Newest entry that is committed, as far as this node knows.", float64(f.Committed)),
		gauge("raft_applied_index", "Newest entry that the metadata here has.", float64(f.Applied)),
		gauge("raft_log_entries", "Entries that raft's log has; a snapshot has the older ones.", float64(f.Entries)),
		counter("raft_elections_total", "Times that this node has begun to stand for election.", float64(f.Elections)),
		counter("raft_leader_changes_total", "Times that this node has found a leader, after another one or none.", float64(f.Leaders)),
		counter("raft_heartbeats_failed_total", "Heartbeats of this node, as the leader, that were not answered.", float64(f.Unanswered)),
		counter("raft_appends_failed_total", "Appends to raft's log that failed, or for which the disk took too long.", float64(f.AppendsFailed)),
		counter("raft_snapshots_total", "Snapshots of the metadata that raft has taken.", float64(f.Snapshots)),
		counter("raft_restores_total", "Snapshots taken over, from the leader or at the start.", float64(f.Restores)),
		timesMetric("raft_append_seconds", "Appends to raft's log, each with its sync.", &f.Appends),
		timesMetric("raft_proposal_seconds", "From a change proposed to this node, as the leader, until it was committed and applied.", &f.Proposals),
	}
}

// timesMetric is a histogram of metadata's.
func timesMetric(name, help string, t *metadata.Times) admin.Metric {
	m := admin.Metric{Name: name, Help: help, Value: t.Seconds, Count: t.Count, Steps: map[float64]uint64{}}
	sum := uint64(0)
	for i := range metadata.TimesSteps {
		sum += t.Steps[i]
		m.Steps[metadata.StepLimit(i).Seconds()] = sum
	}
	return m
}

// gossipMetrics tell how gossip does on this node.
func gossipMetrics(f *dataplane.GossipFigures) []admin.Metric {
	all := []admin.Metric{
		gauge("gossip_nodes", "Nodes that gossip takes for alive, this one included.", float64(f.Alive)),
		gauge("gossip_health", "0: this node answers gossip in time; the more, the later, up to 7.", float64(f.Health)),
		gauge("gossip_queued", "News of the ring that are still to be spread.", float64(f.Queued)),
		counter("gossip_nodes_gone_total", "Nodes that have left, or were taken for dead.", float64(f.Gone)),
		counter("gossip_probes_failed_total", "Probes of another node that were not answered, by no way: it is suspected.", float64(f.Failed)),
		counter("gossip_probes_tcp_only_total", "Probes answered by TCP and not by UDP.", float64(f.TCPOnly)),
		counter("gossip_suspected_total", "Times that others took this node for dead, or were about to.", float64(f.Suspected)),
		counter("gossip_exchanges_total", "Exchanges of all that is known with another node.", float64(f.Exchanges)),
	}
	for direction, n := range map[string][2]uint64{"in": {f.PacketsIn, f.BytesIn}, "out": {f.PacketsOut, f.BytesOut}} {
		packets := counter("gossip_packets_total", "UDP packets of gossip, by direction.", float64(n[0]))
		bytes := counter("gossip_bytes_total", "Bytes of these packets.", float64(n[1]))
		packets.Labels = map[string]string{"direction": direction}
		bytes.Labels = packets.Labels
		all = append(all, packets, bytes)
	}
	m := admin.Metric{Name: "gossip_probe_seconds", Help: "From a probe of another node to its answer, if that came at once, by UDP.", Value: f.ProbesTook, Steps: map[float64]uint64{}}
	for i, n := range f.Probes {
		m.Count += n
		if end := dataplane.BucketLimit(i); i%2 == 1 && end >= shortestStep && end < longestProbe {
			m.Steps[end.Seconds()] = m.Count
		}
	}
	return append(all, m)
}

// longestProbe is beyond what a probe by UDP may take.
const longestProbe = 2 * time.Second
