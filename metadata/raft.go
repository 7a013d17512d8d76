package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

const (
	raftDir           = "raft"
	snapshotsRetained = 3
	snapshotThreshold = 1024 // log entries; a State is small, replaying is not free
	trailingLogs      = 1024
	poolSize          = 3
)

// raftNode is this node's raft with what it stands on. Server ids and addresses
// are both node ids. A node that raft's configuration does not know stays idle.
type raftNode struct {
	*raft.Raft
	trans *raft.NetworkTransport
	logs  *boundedLogs
	bolt  *raftboltdb.BoltStore
	stop  context.CancelFunc // of what waits for room on the disk
	waits waits

	tally *tally
}

// raftFolder is where raft of a generation keeps its log. The folder of one generation
// is never used for another: what the lost majority had committed there counts no more.
func raftFolder(dir string, generation uint64) string {
	if generation == 0 {
		return filepath.Join(dir, raftDir)
	}
	return filepath.Join(dir, fmt.Sprintf("%s-%d", raftDir, generation))
}

// openRaft starts raft in the folder of st's generation. If st founds that generation
// this node becomes the only voter of a new raft, unless one is there already.
func openRaft(cfg *Config, w waits, f *fsm, st *State, log *slog.Logger) (_ *raftNode, err error) {
	dir, hlog := raftFolder(cfg.Dir, st.Generation().N), hclogger{log: log}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make raft's folder: %w", err)
	}
	path := filepath.Join(dir, "log.bolt")
	logs, err := raftboltdb.New(raftboltdb.Options{
		Path:                    path,
		MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open raft log: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	disk := cfg.wrapDisk(logs)
	n := &raftNode{logs: newBoundedLogs(disk, w.hung, log), bolt: logs, waits: w, stop: stop, tally: &f.tally}
	n.trans = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: newStreamLayer(cfg), MaxPool: poolSize, Timeout: w.rpc, Logger: hlog, MsgpackUseNewTimeFormat: true,
	})
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if err := reserveFile(path, raftRoom); err != nil && !diskFull(err) {
		return nil, fmt.Errorf("make room for the raft log: %w", err)
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsRetained, hlog)
	if err != nil {
		return nil, fmt.Errorf("open raft snapshots: %w", err)
	}
	conf := raftConfig(raft.ServerID(cfg.Self.ID), w, hlog)
	if st.founded(cfg.Self.ID) {
		if err := bootstrapRaft(conf, logs, snaps, n.trans); err != nil {
			return nil, err
		}
	}
	if n.Raft, err = raft.NewRaft(conf, f, &countedLogs{n.logs, n.tally}, &patientStable{disk, ctx, log}, snaps, n.trans); err != nil {
		return nil, fmt.Errorf("start raft: %w", err)
	}
	n.RegisterObserver(raft.NewObserver(nil, false, n.tally.observe))
	if err := n.hasten(cfg.Self.ID); err != nil {
		return nil, fmt.Errorf("start raft: %w", err)
	}
	return n, nil
}

// hasten lets the only server stand for election now, and not when it has heard of no
// leader for a heartbeat's time: there is none to hear of. Raft looks at its timer anew
// when its configuration is reloaded with a shorter time.
func (n *raftNode) hasten(self ring.NodeID) error {
	voters, listeners, err := n.servers()
	if err != nil || len(listeners) > 0 || len(voters) != 1 || voters[0] != self {
		return err
	}
	conf := n.ReloadableConfig()
	conf.HeartbeatTimeout -= time.Millisecond
	return n.ReloadConfig(conf)
}

func raftConfig(id raft.ServerID, w waits, log hclogger) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = id, log
	c.HeartbeatTimeout, c.ElectionTimeout = w.heartbeat, w.heartbeat
	c.LeaderLeaseTimeout, c.CommitTimeout = w.lease, w.commit
	c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = w.snapshot, snapshotThreshold, trailingLogs
	c.ShutdownOnRemove = false // govern removes servers, and they stay as followers of the watch
	c.NoLegacyTelemetry = true
	return c
}

// bootstrapRaft writes a configuration with one voter, unless raft has begun before.
func bootstrapRaft(conf *raft.Config, logs *raftboltdb.BoltStore, snaps raft.SnapshotStore, trans raft.Transport) error {
	begun, err := raft.HasExistingState(logs, logs, snaps)
	if err != nil {
		return fmt.Errorf("read raft log: %w", err)
	}
	if begun {
		return nil
	}
	only := raft.Server{ID: conf.LocalID, Address: raft.ServerAddress(conf.LocalID)}
	err = raft.BootstrapCluster(conf, logs, logs, snaps, trans, raft.Configuration{Servers: []raft.Server{only}})
	if err != nil {
		return fmt.Errorf("bootstrap raft: %w", err)
	}
	return nil
}

// close stops raft and waits for its goroutines. Connections go first: raft would
// wait for answers on them.
func (n *raftNode) close() error {
	n.stop()
	err := n.trans.Close()
	if n.Raft != nil {
		err = errors.Join(err, n.Shutdown().Error())
	}
	n.logs.wait()
	return errors.Join(err, n.bolt.Close())
}

// leads reports whether this node believes to be the leader; it may learn up to a
// lease later that it is not.
func (n *raftNode) leads() bool { return n.State() == raft.Leader }

// leader is who leads, as far as raft here knows.
func (n *raftNode) leader() (ring.NodeID, bool) {
	_, id := n.LeaderWithID()
	return ring.NodeID(id), id != ""
}

// propose hands c to raft, whose leader must be this node, and waits until it is
// applied here. Errors are *wire.Error; NotLeader and Unavailable may be tried again.
func (n *raftNode) propose(c Command) (ring.Epoch, error) {
	b, err := json.Marshal(c.stamped())
	if err != nil {
		return 0, wire.Errorf(wire.BadRequest, "encode command: %v", err)
	}
	began := time.Now()
	f := n.Apply(b, n.waits.rpc)
	if err := f.Error(); err != nil {
		return 0, n.refusal(err)
	}
	n.tally.proposals.note(time.Since(began))
	a, ok := f.Response().(applied)
	if !ok {
		return 0, wire.Errorf(wire.Internal, "raft answered with %T", f.Response())
	}
	return a.epoch, a.err
}

// refusal says what an error of raft means to a proposer.
func (n *raftNode) refusal(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return n.notLeader()
	case errors.Is(err, raft.ErrRaftShutdown):
		return errClosed()
	}
	return wire.Errorf(wire.Unavailable, "raft: %v", err)
}

// notLeader is the error whose message is the leader's id, empty if it is unknown.
func (n *raftNode) notLeader() error {
	id, _ := n.leader()
	return wire.Errorf(wire.NotLeader, "%s", id)
}

// servers is raft's configuration: who votes, who only listens, and its version.
func (n *raftNode) servers() (voters, listeners []ring.NodeID, err error) {
	f := n.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, nil, fmt.Errorf("read raft configuration: %w", err)
	}
	for _, srv := range f.Configuration().Servers {
		if srv.Suffrage == raft.Voter {
			voters = append(voters, ring.NodeID(srv.ID))
		} else {
			listeners = append(listeners, ring.NodeID(srv.ID))
		}
	}
	return voters, listeners, nil
}
