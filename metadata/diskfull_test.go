package metadata

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
)

// fullStable finds no room until it is told that there is some.
type fullStable struct {
	raft.StableStore
	room  atomic.Bool
	tries atomic.Int64
	err   error
}

func (f *fullStable) SetUint64([]byte, uint64) error {
	f.tries.Add(1)
	if f.room.Load() {
		return nil
	}
	return &os.PathError{Op: "write", Path: "log.bolt", Err: f.err}
}

func newPatient(t *testing.T, err error) (*fullStable, *patientStable, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	under := &fullStable{err: err}
	return under, &patientStable{under, ctx, slog.New(slog.NewTextHandler(io.Discard, nil))}, cancel
}

// On a full disk raft waits with its term until there is room; it does not panic.
func TestRaftWaitsForRoom(t *testing.T) {
	under, patient, cancel := newPatient(t, syscall.ENOSPC)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- patient.SetUint64([]byte("CurrentTerm"), 7) }()
	for under.tries.Load() < 2 {
		select {
		case err := <-done:
			t.Fatalf("it does not wait: %v", err)
		default:
		}
	}
	under.room.Store(true)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A raft that waits for room can be closed: its goroutine ends, with neither answer.
func TestRaftClosesWithoutRoom(t *testing.T) {
	under, patient, cancel := newPatient(t, syscall.EDQUOT)
	ended, returned := make(chan struct{}), false
	go func() {
		defer close(ended)
		_ = patient.SetUint64([]byte("CurrentTerm"), 7)
		returned = true
	}()
	for under.tries.Load() < 1 {
		select {
		case <-ended:
			t.Fatal("it does not wait")
		default:
		}
	}
	cancel()
	if <-ended; returned {
		t.Error("it has returned")
	}
	other, patient, cancel := newPatient(t, syscall.EIO)
	defer cancel()
	if err := patient.SetUint64(nil, 1); !errors.Is(err, syscall.EIO) || other.tries.Load() != 1 {
		t.Errorf("%v after %d tries", err, other.tries.Load())
	}
}
