package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/ringcore/ringcore/dataplane/wire"
	"github.com/ringcore/ringcore/metadata/ring"
)

// fsm feeds raft's log to step. Raft calls its methods from one goroutine.
type fsm struct {
	state   atomic.Pointer[State] // nil before the birth command; written by raft's goroutine only
	publish func(*State)
	fail    func(error) // it cannot go on; the first counts
	failed  bool        // raft's goroutine only
	tally   tally
	failpoints
}

// applied is what Apply answers to the proposer.
type applied struct {
	epoch ring.Epoch // of the State that holds the command's effect
	err   error
}

// Apply implements raft.FSM.
func (f *fsm) Apply(l *raft.Log) any {
	var c Command
	if err := json.Unmarshal(l.Data, &c); err != nil {
		return applied{err: wire.Errorf(wire.BadRequest, "command at index %d: %v", l.Index, err)}
	}
	old := f.state.Load()
	if c.Version > newestCommand && old != nil && old.Common(MetadataCapability) >= c.Version {
		// The others apply it. Nothing that comes behind it would mean the same here.
		f.failed = true
		f.fail(fmt.Errorf("%w: raft's log has a command (%s) of version %d, this one knows %d: start the newer version again", ErrNewer, c.Op, c.Version, newestCommand))
	}
	if f.failed {
		return applied{err: wire.Errorf(wire.NotSupported, "this node is of an older version than the cluster's metadata")}
	}
	f.applying(&c)
	next, err := step(old, &c)
	if next == nil {
		return applied{err: err}
	}
	if next != old {
		f.state.Store(next)
		f.publish(next)
		f.applied(&c)
	}
	return applied{epoch: next.Epoch, err: dated(err, next.Epoch)}
}

// dated is err with the epoch of the State that it was decided on: who acts on a
// refusal must have seen what it is about.
func dated(err error, epoch ring.Epoch) error {
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		return err
	}
	return &wire.Error{Code: e.Code, Message: e.Message, Epoch: uint64(epoch)}
}

// Snapshot implements raft.FSM. A State never changes, so it is taken at once.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) { return snapshot{f.state.Load(), &f.tally}, nil }

// Restore implements raft.FSM. Nothing changes unless the whole snapshot is read.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer func() { _ = r.Close() }() // only read from
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	if string(b) == "null" {
		return nil
	}
	s, err := Decode(b)
	if err != nil {
		if errors.Is(err, ErrNewer) {
			f.fail(fmt.Errorf("raft's snapshot: %w", err))
		}
		return fmt.Errorf("restore snapshot: %w", err)
	}
	f.state.Store(s)
	f.publish(s)
	f.tally.restores.Add(1)
	return nil
}

// snapshot is a State on its way to raft's snapshot file: JSON with Recent, "null"
// before the birth. The file has a checksum of its own.
type snapshot struct {
	state *State
	tally *tally
}

// Persist implements raft.FSMSnapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	b, err := json.Marshal(s.state)
	if err == nil {
		_, err = sink.Write(b)
	}
	if err != nil {
		_ = sink.Cancel() // the first error says more
		return fmt.Errorf("write snapshot: %w", err)
	}
	if err := sink.Close(); err != nil {
		return err
	}
	s.tally.snapshots.Add(1)
	return nil
}

// Release implements raft.FSMSnapshot.
func (s snapshot) Release() {}
