package vnodes

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ringcore/ringcore/dataplane/wire"
)

// roomyFiles is a fileSystem on a disk of 100 MiB of which a test says how much is free.
type roomyFiles struct {
	fileSystem
	free atomic.Int64
}

const roomyTotal = 100 << 20

func newRoomyFiles(under fileSystem) *roomyFiles {
	f := &roomyFiles{fileSystem: under}
	f.free.Store(roomyTotal)
	return f
}

func (f *roomyFiles) space(string) (free, total int64, err error) {
	return f.free.Load(), roomyTotal, nil
}

// set says how much is free, and returns when the disk of m has seen it.
func (f *roomyFiles) set(w *world, m *Manager, free int64) {
	w.t.Helper()
	f.free.Store(free)
	w.until("the room is seen", func() bool { return m.disk.Space().Free == free })
}

// withRoom gives the node a disk whose room the test decides on.
func withRoom(files map[*simNode]*roomyFiles) func(*simNode) {
	return func(n *simNode) {
		f := newRoomyFiles(osFiles{})
		files[n] = f
		n.tunedBy(func(c *Config) {
			c.files = f
		})
	}
}

func TestParseMark(t *testing.T) {
	const total = 1000 << 20
	def := defaultMark{percent: 10, most: 50 << 20}
	for text, want := range map[string]int64{
		"": 50 << 20, "10%": 100 << 20, "0.5%": total / 200, "0": 1, "0%": 1, "4096": 4096, "1.5KiB": 1536, "2 MiB": 2 << 20,
		"10GiB": 10 << 30, "500MB": 500e6, "3 B": 3, "1kB": 1000, "1TB": 1e12,
	} {
		m, err := ParseMark(text)
		if got := m.of(total, def); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "-1", "-1%", "100%", "10 percent", "NaN", "NaN%", "Inf", "1e30GiB", "%", "GiB", "10GiBB"} {
		if m, err := ParseMark(text); err == nil {
			t.Errorf("%q is %+v", text, m)
		}
	}
}

// A level ends later than it began, so that it does not come and go.
func TestLevels(t *testing.T) {
	const mib = 1 << 20
	level := Roomy
	for i, c := range []struct {
		free int64
		want Level
	}{
		{100 * mib, Roomy},
		{40 * mib, Roomy},
		{40*mib - 1, Low},
		{41 * mib, Low},
		{45 * mib, Roomy},
		{39 * mib, Low},
		{20*mib - 1, Critical},
		{20 * mib, Critical},
		{22 * mib, Critical},
		{23 * mib, Low},
		{5 * mib, Critical},
		{60 * mib, Roomy},
	} {
		s := Space{Known: true, Free: c.free, Low: 40 * mib, Critical: 20 * mib}
		if level = s.next(level); level != c.want {
			t.Fatalf("step %d: %v with %d free, want %v", i, level, c.free, c.want)
		}
	}
	if got := (&Space{}).next(Critical); got != Roomy {
		t.Errorf("nothing is known, and the level is %v", got)
	}
}

// With hardly any room writes are refused and leave no trace, reads go on; with
// room all goes on, without a restart. The operator is told once each.
func TestFullDiskRefusesWrites(t *testing.T) {
	files := make(map[*simNode]*roomyFiles)
	w := newWorld(t, 1, 1, withRoom(files))
	n := w.node(1)
	m, room := n.m.Load(), files[n]
	n.mustPut("a", "1")
	ran := n.command("a", "ran")
	digest, at := m.open()[0].store.Digest(), m.disk.log.position()

	room.set(w, m, 1<<20)
	w.until("the level is critical", func() bool { return m.disk.Space().Level == Critical })
	for _, cmd := range []string{"put 2", "del", "append x", "panic"} {
		got := n.command("a", cmd)
		if got.code != wire.DiskFull || got.effect != nil || !strings.Contains(string(got.body), "1024 KiB free") {
			t.Errorf("%s: %v", cmd, got)
		}
	}
	if got := n.effect("a", Record{Stamp: Stamp{Time: m.clock.last + 1, Node: 9}, Value: []byte("3")}, 0); got.code != wire.DiskFull {
		t.Errorf("effect: %v", got)
	}
	if got := n.get("a"); string(got.body) != "1" {
		t.Errorf("read: %v", got)
	}
	if err := m.open()[0].mergeWait([]Write{write("a", "4", 1<<60)}); asError(err).Code != wire.DiskFull {
		t.Errorf("chunk: %v", err)
	}
	if d, p := m.open()[0].store.Digest(), m.disk.log.position(); d != digest || p.segment() == at.segment() && p != at && m.disk.Stats().Checkpoints == 0 {
		t.Errorf("%+v at %v, was %+v at %v", d, p, digest, at)
	}
	if got := m.disk.Stats().Refused; got != 6 {
		t.Errorf("%d refusals are counted", got)
	}

	room.set(w, m, 90<<20)
	w.until("there is room", func() bool { return m.disk.Space().Level == Roomy })
	n.mustPut("a", "5")
	// Nothing that was refused has touched the user's vnode: two puts and two of these have.
	if got := n.command("a", "ran"); string(ran.body) != "2" || string(got.body) != "4" {
		t.Errorf("the vnode counts %s commands", got.body)
	}
	for text, times := range map[string]int{"disk almost full": 1, "the disk has room again": 1} {
		if got := strings.Count(n.log.String(), text); got != times {
			t.Errorf("%q is logged %d times", text, got)
		}
	}
}

// While room is short everything in memory goes to the files, the log shrinks, and
// old segments are given back.
func TestFullDiskShortensLog(t *testing.T) {
	dir := t.TempDir()
	room := newRoomyFiles(osFiles{})
	d := openDisk(t, dir, DiskOptions{files: room})
	st := createStore(t, d)
	for i := range 300 {
		put(t, st, fmt.Sprint(i), strings.Repeat("v", 10_000), 1)
	}
	room.free.Store(1)
	w := &world{t: t}
	w.until("all is in the files", func() bool { return d.tables.Load() == 0 })
	w.until("no old segment is kept", func() bool {
		d.log.mu.Lock()
		defer d.log.mu.Unlock()
		return len(d.log.old) == 0
	})
	if s := d.Stats(); s.Checkpoints == 0 || s.CheckpointTime == 0 || s.TableBytes != 0 || s.LogBytes != d.log.bytes() {
		t.Errorf("%+v", s)
	}
}

// Segments are not made longer than room allows, and a small disk gets a small log.
func TestSegmentsFitTheRoom(t *testing.T) {
	room := newRoomyFiles(osFiles{})
	d := openDisk(t, t.TempDir(), DiskOptions{files: room})
	if d.opts.SegmentBytes != roomyTotal/32 || d.opts.TableBytes != roomyTotal/64 || d.opts.LogBytes != roomyTotal/8 {
		t.Errorf("%+v", d.opts)
	}
	l := d.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for left, want := range map[int64]int64{-1: 2 << 20, 100 << 20: 2 << 20, 12 << 20: 3 << 19, 5 << 20: 1 << 20, 0: 1 << 20} {
		if l.roomLeft = left; l.nextLength() != want {
			t.Errorf("with %d left a segment has %d, want %d", left, l.nextLength(), want)
		}
	}
}

// The room that is kept is enough for full tables and a copy of the largest file.
func TestReserve(t *testing.T) {
	room := newRoomyFiles(osFiles{})
	d := openDisk(t, t.TempDir(), DiskOptions{files: room, TableBytes: 1 << 20, Critical: Mark{Bytes: 1}, Low: Mark{Bytes: 1}})
	st := createStore(t, d)
	least := d.Space().Reserve
	if least < 5<<20 { // twice the tables at their most, a segment, and what nobody counts
		t.Errorf("%d", least)
	}
	for i := range 4 {
		put(t, st, fmt.Sprint(i), strings.Repeat("v", 1<<20), 1)
	}
	if err := d.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t}
	w.until("the file is seen", func() bool { return d.Space().Reserve >= least+4<<20 })
	if s := d.Space(); s.Critical != s.Reserve || s.Low != s.Critical || s.Level != Roomy {
		t.Errorf("%+v", s)
	}
}

// A partition does not move to a node whose disk is low; it does when there is room.
func TestLowDiskRefusesHandoff(t *testing.T) {
	files := make(map[*simNode]*roomyFiles)
	w := newWorld(t, 2, 1, withRoom(files))
	a, b := w.node(1), w.node(2)
	const p = 2
	a.fill(p, 50)
	files[b].set(w, b.m.Load(), 9<<20) // low is 10 MiB, critical 3
	s := w.begin(move(p, 0, 1, 2))
	w.until("the target has refused", func() bool { return strings.Contains(a.log.String(), "disk_full: the partition was not taken") })
	if w.state().ended[s.ID] {
		t.Fatal("the partition has moved")
	}
	a.mustPut(keyIn(p, 0), "meanwhile")
	if got := b.m.Load().disk.Stats(); got.Refused == 0 || got.Space.Level != Low {
		t.Errorf("%+v", got)
	}
	files[b].free.Store(50 << 20)
	w.committed(s)
	w.settled()
	if got := b.get(keyIn(p, 0)); string(got.body) != "meanwhile" {
		t.Errorf("%v", got)
	}
}

// The sender says how much it brings: what would leave too little room is refused
// before it comes.
func TestHandoffNeedsRoom(t *testing.T) {
	room := newRoomyFiles(osFiles{})
	room.free.Store(30 << 20)
	d := openDisk(t, t.TempDir(), DiskOptions{files: room})
	if err := d.Takes("x", 5<<20); err != nil {
		t.Error(err)
	}
	var refused *SpaceError
	if err := d.Takes("x", 20<<20); !errors.As(err, &refused) || refused.Free != 30<<20 || refused.Need != 50<<20 || !errors.Is(err, ErrDiskFull) {
		t.Errorf("%v", err)
	}
}

// A node whose disk is full hands partitions on: that makes room.
func TestFullDiskHandsOn(t *testing.T) {
	files := make(map[*simNode]*roomyFiles)
	w := newWorld(t, 2, 1, withRoom(files))
	a, b := w.node(1), w.node(2)
	const p = 2
	a.fill(p, 50)
	files[a].set(w, a.m.Load(), 0)
	if got := a.put(keyIn(p, 0), "refused"); got.code != wire.DiskFull {
		t.Fatal(got)
	}
	w.do(move(p, 0, 1, 2))
	b.filled(p, 50)
	b.mustPut(keyIn(p, 0), "taken")
}

// A command that was run, and whose writes found no room, leaves a new vnode: what
// the old one has in its fields may not be so.
func TestVnodeIsRenewedWithoutRoom(t *testing.T) {
	files := newFaultFiles()
	w := newWorld(t, 1, 1, func(n *simNode) { n.tune = func(c *Config) { c.files = files } })
	n := w.node(1)
	files.set(func(op, path string) error {
		if op == "rename" && strings.HasSuffix(path, ".bolt") {
			return &fs.PathError{Op: op, Path: path, Err: syscall.ENOSPC}
		}
		return nil
	})
	if got := n.command("a", "put 1"); got.code != wire.DiskFull {
		t.Fatal(got)
	}
	files.set(nil)
	if got := n.command("a", "ran"); string(got.body) != "1" {
		t.Errorf("the vnode counts %s commands", got.body)
	}
	n.mustPut("a", "2")
}

// A slot is not filled on a node whose disk is low, until there is room.
func TestLowDiskIsNotFilled(t *testing.T) {
	files := make(map[*simNode]*roomyFiles)
	w := newWorld(t, 2, 1, withRoom(files), func(n *simNode) { n.services = []Service{simService("kv", 3)} })
	const p = 1
	w.node(1).fill(p, 20)
	b := w.node(2)
	files[b].set(w, b.m.Load(), 9<<20)
	s := w.begin(add(p, 1, 2))
	w.until("the slot was not filled", func() bool { return strings.Contains(b.log.String(), "the slot was not filled") })
	files[b].free.Store(50 << 20)
	w.committed(s)
	w.settled()
	b.filled(p, 20)
}

// Hints wait while their owner's disk is full, and come when it has room.
func TestHintsWaitForRoom(t *testing.T) {
	files := make(map[*simNode]*roomyFiles)
	w := newWorld(t, 2, 1, withRoom(files))
	a, b := w.node(1), w.node(2)
	files[a].set(w, a.m.Load(), 1<<20)
	key := keyIn(3, 0)
	req := request(wire.OpEffect, w.ring(), "kv", key, "")
	req.Flags, req.For = wire.FlagFallback, string(a.id)
	req.Effect = AppendWrites(nil, []Write{{Key: []byte(key), Record: Record{Stamp: Stamp{Time: 1 << 50, Node: 9}, Value: []byte("hint")}}})
	if got := b.ask(req); got.code != wire.OK {
		t.Fatal(got)
	}
	w.until("the owner has refused", func() bool { return strings.Contains(a.log.String(), "the records were not taken") })
	if b.m.Load().Holding() != 1 {
		t.Fatal("the hint is gone")
	}
	files[a].free.Store(50 << 20)
	w.settled()
	if got := a.get(key); string(got.body) != "hint" {
		t.Errorf("%v", got)
	}
}
