package metadata

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// raftRoom is what raft's log has on the disk from the start, so that a full disk
// does not stop it at once: the changes that make room are ring changes.
const raftRoom = 2 << 20

// fullRetry is how long raft waits between two tries to write down its term.
const fullRetry = 250 * time.Millisecond

// patientStable is raft's stable store on a disk that may be full. Raft panics when
// it cannot write down its term; here it waits instead until there is room, and the
// data path goes on without it.
type patientStable struct {
	raft.StableStore
	ctx context.Context // ends when raft shuts down
	log *slog.Logger
}

// SetUint64 implements raft.StableStore. Raft calls it from its main goroutine only.
func (p *patientStable) SetUint64(key []byte, value uint64) error {
	for waiting := false; ; waiting = true {
		err := p.StableStore.SetUint64(key, value)
		if !diskFull(err) {
			return err
		}
		if !waiting {
			p.log.Warn("raft waits for room on the disk: the ring cannot change", "err", err)
		}
		t := time.NewTimer(fullRetry)
		select {
		case <-t.C:
		case <-p.ctx.Done():
			t.Stop()
			// Raft would take an error for a reason to panic, and success for a term that
			// is on the disk. Its goroutine ends here, as it would a moment later.
			runtime.Goexit()
		}
	}
}

// diskFull reports whether err may go away when there is room on the disk.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
