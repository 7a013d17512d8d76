package metadata

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// boundedLogs is raft's log on a disk that may hang. Raft writes it on the goroutine
// that leads, and sends heartbeats from others: a leader whose disk hangs would stay
// leader for as long, and nothing could be committed. Here a write that takes longer
// than the limit fails. A leader then steps down, and cannot come back before its disk
// does, because it must write down its vote.
//
// The write goes on meanwhile. Its entries are taken out again when it ends, and until
// then nothing else is written: raft does not know of them, and must not find them
// behind newer ones.
type boundedLogs struct {
	raft.LogStore
	limit time.Duration
	log   *slog.Logger
	turn  chan struct{} // of one: whoever holds it writes, also when nobody waits for that any more

	writes sync.WaitGroup
}

func newBoundedLogs(l raft.LogStore, limit time.Duration, log *slog.Logger) *boundedLogs {
	return &boundedLogs{LogStore: l, limit: limit, log: log, turn: make(chan struct{}, 1)}
}

var errHungDisk = errors.New("the disk has not taken the log in time")

// StoreLog implements raft.LogStore.
func (b *boundedLogs) StoreLog(l *raft.Log) error { return b.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. Raft does not change logs once they are handed over.
func (b *boundedLogs) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	limit := time.NewTimer(b.limit)
	defer limit.Stop()
	select {
	case b.turn <- struct{}{}:
	case <-limit.C:
		return errHungDisk
	}
	var settled atomic.Bool // whether the writer or the caller has had the last word
	done := make(chan error, 1)
	b.writes.Go(func() {
		err := b.LogStore.StoreLogs(logs)
		if !settled.CompareAndSwap(false, true) {
			err = b.undo(logs[0].Index, logs[len(logs)-1].Index, err)
			if err != nil {
				b.log.Error("raft's log takes no more entries until this node is started again", "err", err)
				return // with the turn
			}
		}
		<-b.turn
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-limit.C:
	}
	if settled.CompareAndSwap(false, true) {
		b.log.Warn("raft's log cannot be written: this node gives up leadership", "elapsed", b.limit)
		return errHungDisk
	}
	return <-done
}

// undo takes the entries of a write out that nobody has waited for.
func (b *boundedLogs) undo(first, last uint64, err error) error {
	if err != nil {
		return nil //nolint:nilerr // nothing was written
	}
	b.log.Info("raft's log can be written again")
	return b.LogStore.DeleteRange(first, last)
}

// DeleteRange implements raft.LogStore.
func (b *boundedLogs) DeleteRange(first, last uint64) error {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	return b.LogStore.DeleteRange(first, last)
}

// wait returns when no write is under way. Raft has stopped before.
func (b *boundedLogs) wait() { b.writes.Wait() }
