package metadata

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// memorySink is a raft.SnapshotSink that keeps what is written, or fails.
type memorySink struct {
	bytes.Buffer
	err              error
	closed, canceled bool
}

func (s *memorySink) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Buffer.Write(b)
}
func (s *memorySink) ID() string    { return "memory" }
func (s *memorySink) Close() error  { s.closed = true; return nil }
func (s *memorySink) Cancel() error { s.canceled = true; return nil }

func applyTo(t *testing.T, f *fsm, c Command) applied {
	t.Helper()
	b, err := json.Marshal(c.stamped())
	if err != nil {
		t.Fatal(err)
	}
	return f.Apply(&raft.Log{Data: b}).(applied)
}

func TestSnapshotRestores(t *testing.T) {
	var published []*State
	f := &fsm{publish: func(s *State) { published = append(published, s) }}
	restoreOf := func(f *fsm) *memorySink {
		sink := new(memorySink)
		snap, err := f.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if err := snap.Persist(sink); err != nil || !sink.closed {
			t.Fatalf("persist: %v, closed %t", err, sink.closed)
		}
		return sink
	}
	unborn := &fsm{publish: func(*State) { t.Error("published before the birth") }}
	if err := unborn.Restore(io.NopCloser(restoreOf(f))); err != nil || unborn.state.Load() != nil {
		t.Errorf("snapshot before the birth: %v", err)
	}
	applyTo(t, f, birthCommand(Birth(testMember("a"), 8, 3)))
	join := Join(testMember("b")).stamped()
	applyTo(t, f, join)
	if a := applyTo(t, f, Join(Member{})); !errors.Is(a.err, &wire.Error{Code: wire.BadRequest}) || a.epoch != 2 {
		t.Errorf("bad command: %+v", a)
	}
	if a := f.Apply(&raft.Log{Data: []byte("{")}).(applied); a.err == nil {
		t.Error("a command that does not parse is applied")
	}
	if len(published) != 2 {
		t.Errorf("published %d states, want 2", len(published))
	}

	restored := &fsm{publish: func(*State) {}}
	whole := restoreOf(f).Bytes()
	if err := restored.Restore(io.NopCloser(bytes.NewReader(whole))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.state.Load(), restored.state.Load()); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	if a := applyTo(t, restored, join); a.err != nil || a.epoch != 2 {
		t.Errorf("a request applied before the snapshot is applied again: %+v", a)
	}
	have := restored.state.Load()
	if err := restored.Restore(io.NopCloser(bytes.NewReader(whole[:len(whole)/2]))); err == nil || restored.state.Load() != have {
		t.Errorf("half a snapshot: %v", err)
	}
	broken := &memorySink{err: io.ErrShortWrite}
	if err := (snapshot{have, &tally{}}).Persist(broken); !errors.Is(err, io.ErrShortWrite) || !broken.canceled {
		t.Errorf("broken disk: %v, canceled %t", err, broken.canceled)
	}
}

func TestRaftLogsThroughSlog(t *testing.T) {
	var b strings.Builder
	h := hclogger{log: slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelInfo}))}
	l := h.Named("raft").With("term", 7)
	l.Error("no answer", "error", io.EOF, "servers", hclog.Fmt("%d of %d", 1, 3))
	l.Info("hidden")
	for _, want := range []string{"level=WARN", `msg="raft: no answer"`, "term=7", "err=EOF", `servers="1 of 3"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q lacks %q", b.String(), want)
		}
	}
	if strings.Contains(b.String(), "hidden") || l.IsInfo() || !l.IsWarn() || l.GetLevel() != hclog.Warn {
		t.Errorf("levels: %q, level %v", b.String(), l.GetLevel())
	}
	l.StandardLogger(nil).Print("through the standard logger")
	if l.Name() != "raft" || len(l.ImpliedArgs()) != 2 {
		t.Errorf("name %q, implied %v", l.Name(), l.ImpliedArgs())
	}
}
