package vnodes

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
)

// crashStore is a store of a crash test, and what it was told.
type crashStore struct {
	session  string   // its identity
	names    []string // under which it may be found
	st       Store
	batches  [][]Write
	acked    atomic.Int64 // how many of batches are acknowledged
	created  bool         // Create has returned
	dropping bool         // Drop has been called
}

// crashRun is one life of a Disk, which ends when the simulated disk does.
type crashRun struct {
	t      *testing.T
	draw   *rand.Rand
	disk   *Disk
	stores []*crashStore // all there ever were
	made   int
}

var crashOptions = DiskOptions{SegmentBytes: 4 << 10, LogBytes: 12 << 10}

// work does things until something fails, or the steps are done.
func (c *crashRun) work(steps int) {
	for range steps {
		if !c.one() {
			return
		}
	}
}

// one does one thing; false if it failed.
func (c *crashRun) one() bool {
	live := slices.DeleteFunc(slices.Clone(c.stores), func(s *crashStore) bool { return s.dropping || !s.created })
	if len(live) < 3 {
		return c.create()
	}
	s := live[c.draw.IntN(len(live))]
	switch n := c.draw.IntN(100); {
	case n < 80:
		return c.append(s)
	case n < 86:
		return s.st.Sync() == nil
	case n < 93:
		return c.disk.Checkpoint() == nil
	case n < 96:
		c.made++
		name := fmt.Sprintf("kv/renamed%d.bolt", c.made)
		s.names = append(s.names, name)
		if c.disk.Rename(s.st, name) != nil {
			return false
		}
		s.names = []string{name}
		return true
	case n < 98:
		s.dropping = true
		return s.st.Drop() == nil
	}
	return c.disk.trim() == nil
}

func (c *crashRun) create() bool {
	c.made++
	name := fmt.Sprintf("kv/p%d.bolt", c.draw.IntN(4)) // names are used again
	for _, s := range c.stores {
		if !s.dropping && slices.Contains(s.names, name) {
			name = fmt.Sprintf("kv/new%d.bolt", c.made)
		}
	}
	s := &crashStore{session: fmt.Sprint(c.made), names: []string{name}}
	c.stores = append(c.stores, s)
	id := testID
	id.Session = s.session
	var err error
	s.st, err = c.disk.Create(id, name)
	s.created = err == nil
	return s.created
}

func (c *crashRun) append(s *crashStore) bool {
	batch := make([]Write, 1+c.draw.IntN(3))
	for i := range batch {
		batch[i] = write(fmt.Sprint("k", c.draw.IntN(12)), fmt.Sprint(len(s.batches), ".", i), uint64(len(s.batches)+1))
		switch c.draw.IntN(10) {
		case 0:
			batch[i].Record = Record{Flags: FlagTombstone, Stamp: batch[i].Record.Stamp}
		case 1:
			batch[i].Record.Value = make([]byte, c.draw.IntN(6<<10))
		}
	}
	s.batches = append(s.batches, batch)
	number := int64(len(s.batches))
	failed := make(chan error, 1)
	s.st.Append(batch, func(err error) {
		if err == nil {
			s.acked.Store(number)
		}
		failed <- err
	})
	if c.draw.IntN(3) == 0 { // else the next comes before this is durable
		return <-failed == nil
	}
	return true
}

// check opens the stores again, on disk, and compares them with what they were told.
func (c *crashRun) check(what string, d *Disk) {
	t := c.t
	names, err := d.List()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]Store)
	for _, name := range names {
		st, err := d.Open(testID, name)
		if err != nil {
			t.Errorf("%s: open %s: %v", what, name, err)
			continue
		}
		found[IdentityOf(st).Session] = st
	}
	for _, s := range c.stores {
		st := found[s.session]
		delete(found, s.session)
		switch {
		case st == nil && s.created && !s.dropping:
			t.Errorf("%s: store %v is gone", what, s.names)
		case st != nil && !s.dropping:
			c.compare(what, s, st)
			s.st, s.created = st, true
		}
	}
	if len(found) > 0 {
		t.Errorf("%s: there are stores that nobody made", what)
	}
}

// compare reports whether st holds what some number of batches lead to, at least
// those that were acknowledged.
func (c *crashRun) compare(what string, s *crashStore, st Store) {
	got := collect(c.t, st, nil)
	model := modelStore{}
	for n := 0; ; n++ {
		if n >= int(s.acked.Load()) && slices.EqualFunc(model.from(nil), got, equalWrites) {
			want, _ := model.digest()
			if have := st.Digest(); have != want {
				c.t.Errorf("%s: %v: digest %+v, not %+v", what, s.names, have, want)
			}
			s.batches = s.batches[:n]
			s.acked.Store(int64(n))
			return
		}
		if n == len(s.batches) {
			c.t.Errorf("%s: %v: %d records, which neither %d nor more of %d batches lead to",
				what, s.names, len(got), s.acked.Load(), len(s.batches))
			return
		}
		for _, w := range s.batches[n] {
			model[string(w.Key)] = w.Record
		}
	}
}

// clone is the same memories for another life.
func (c *crashRun) clone(t *testing.T) *crashRun {
	other := &crashRun{t: t, draw: c.draw, made: c.made}
	for _, s := range c.stores {
		o := &crashStore{session: s.session, names: slices.Clone(s.names), st: s.st, batches: slices.Clone(s.batches), created: s.created, dropping: s.dropping}
		o.acked.Store(s.acked.Load())
		other.stores = append(other.stores, o)
	}
	return other
}

func openSim(t *testing.T, dir string, sim *simDisk) (*Disk, error) {
	opts := crashOptions
	opts.files = sim
	opts.Logger = discardLogger()
	return OpenDisk(dir, opts)
}

// The machine goes off at each of its steps: before and after each sync, rename,
// creation and removal. The log loses what was not synced; its last write is torn
// at some byte. Then all that was acknowledged is there, in whole batches.
func TestCrashAtEachStep(t *testing.T) {
	steps := 400
	if testing.Short() {
		steps = 60
	}
	for step := 1; step < steps; step += 1 + step/40 {
		crashAt(t, step, "", 150, func(longest int) []int { return []int{0, longest / 3, longest} })
	}
}

// The last write is torn at each of its bytes.
func TestCrashTearsAtEachByte(t *testing.T) {
	torn := 0
	for _, step := range []int{31, 83} {
		crashAt(t, step, "before sync", 60, func(longest int) []int {
			var all []int
			for n := 0; n <= longest; n += 1 + n/200 { // each of the first bytes, where heads and feet lie
				all = append(all, n)
			}
			torn += len(all)
			return all
		})
	}
	if torn < 100 {
		t.Errorf("only %d tears", torn)
	}
}

// crashAt lets a machine go off at a step of its disk, or, if op is not empty, the
// first one of that kind from there on, and checks it after each of
// some tears of the last write.
func crashAt(t *testing.T, step int, op string, work int, tears func(longest int) []int) {
	t.Helper()
	dir := t.TempDir()
	sim := newSimDisk(dir)
	var what string
	sim.hook = func(n int, now string) error {
		if n < step || op != "" && op != now {
			return nil
		}
		what, sim.crashed = now, true
		return errCrashed
	}
	c := &crashRun{t: t, draw: rand.New(rand.NewPCG(uint64(step), 7))}
	d, err := openSim(t, dir, sim)
	if err == nil {
		c.disk = d
		c.work(work)
		_ = d.Close() // writes nothing any more if the machine is off
	} else if !errors.Is(err, errCrashed) {
		t.Fatal(err)
	}
	for _, names := range []bool{false, true} {
		if names && op != "" {
			return // with tears at each byte that would take long
		}
		for _, torn := range tears(sim.longestTear()) {
			again := t.TempDir()
			c.clone(t).live(fmt.Sprintf("step %d, %s, torn at %d, names %v", step, what, torn, names), again, sim.image(t, again, torn, names))
			if t.Failed() {
				return
			}
		}
	}
}

// live is another life: what the first left is there, and after some work and a
// clean stop, and after a kill, still is.
func (c *crashRun) live(what, dir string, sim *simDisk) {
	for _, end := range []string{"a clean stop", "another crash", "the end"} {
		d, err := openSim(c.t, dir, sim)
		if err != nil {
			c.t.Errorf("%s: %v", what, err)
			return
		}
		c.disk = d
		c.check(what, d)
		if !c.t.Failed() {
			c.work(25)
		}
		if end == "another crash" {
			sim.mu.Lock()
			sim.crashed = true
			sim.mu.Unlock()
		}
		if err := d.Close(); err != nil && end != "another crash" {
			c.t.Errorf("%s: %v", what, err)
		}
		what += ", " + end
		sim = sim.crash(c.t)
	}
}
