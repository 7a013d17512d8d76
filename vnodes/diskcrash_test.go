package vnodes

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
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
	bulk   bool // the stores are large enough to be copied, and lose their tombstones then
}

// options let checkpoints, new segments and trims go on all the time.
func (c *crashRun) options() DiskOptions {
	opts := DiskOptions{SegmentBytes: 4 << 10, LogBytes: 12 << 10}
	if c.bulk {
		opts.LogBytes = 256 << 10
		opts.Floor = func(Identity) uint64 { return math.MaxUint64 }
	}
	return opts
}

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
	keys, most := 12, 3
	if c.bulk {
		keys, most = 120, 40
	}
	batch := make([]Write, 1+c.draw.IntN(most))
	if c.bulk && len(s.batches) == 0 {
		batch = make([]Write, 4*keys) // with most of the keys
	}
	for i := range batch {
		batch[i] = write(fmt.Sprint("k", c.draw.IntN(keys)), fmt.Sprint(len(s.batches), ".", i), uint64(len(s.batches)+1))
		switch n := c.draw.IntN(10); {
		case n == 0:
			batch[i].Record = Record{Flags: FlagTombstone, Stamp: batch[i].Record.Stamp}
		case n == 1 || c.bulk:
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
	found := modelStore{}
	for _, w := range got {
		found[string(w.Key)] = w.Record
	}
	if err := found.miscounts(st); err != nil {
		c.t.Errorf("%s: %v: %v", what, s.names, err)
	}
	got = c.needed(got)
	model := modelStore{}
	for n := 0; ; n++ {
		if n >= int(s.acked.Load()) && slices.EqualFunc(c.needed(model.from(nil)), got, equalWrites) {
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

// needed is the records that must be there: without tombstones if nobody needs those.
func (c *crashRun) needed(writes []Write) []Write {
	if !c.bulk {
		return writes
	}
	return slices.DeleteFunc(writes, func(w Write) bool { return w.Record.Deleted() })
}

// clone is the same memories for another life.
func (c *crashRun) clone(t *testing.T) *crashRun {
	other := &crashRun{t: t, draw: c.draw, made: c.made, bulk: c.bulk}
	for _, s := range c.stores {
		o := &crashStore{session: s.session, names: slices.Clone(s.names), st: s.st, batches: slices.Clone(s.batches), created: s.created, dropping: s.dropping}
		o.acked.Store(s.acked.Load())
		other.stores = append(other.stores, o)
	}
	return other
}

func (c *crashRun) open(dir string, sim *simDisk) (*Disk, error) {
	opts := c.options()
	opts.files = sim
	opts.Logger = discardLogger()
	return OpenDisk(dir, opts)
}

// crashPlan says when a machine goes off.
type crashPlan struct {
	seed, work int
	bulk       bool
	at         func(step int, what string) bool // asked before each step until it says yes
	tears      func(longest int) []int          // places at which the last write is torn
	names      []bool                           // whether changes of names that were not synced survive
}

// The machine goes off at each of its steps: before and after each sync, rename,
// creation and removal. The log loses what was not synced; its last write is torn
// at some byte. Then all that was acknowledged is there, in whole batches.
func TestCrashAtEachStep(t *testing.T) {
	long(t)
	t.Parallel() // it waits for the disk
	steps := 400
	if testing.Short() {
		steps = 60
	}
	for step := 1; step < steps; step += 1 + step/40 {
		crashAt(t, crashPlan{
			seed: step, work: 150, names: []bool{false, true},
			at:    func(n int, _ string) bool { return n >= step },
			tears: func(longest int) []int { return []int{0, longest / 3, longest} },
		})
	}
}

// The last write is torn at each of its bytes.
func TestCrashTearsAtEachByte(t *testing.T) {
	long(t)
	t.Parallel() // it waits for the disk
	torn := 0
	for _, step := range []int{31, 83} {
		crashAt(t, crashPlan{
			seed: step, work: 60, names: []bool{false},
			at: func(n int, what string) bool { return n >= step && what == "before sync" },
			tears: func(longest int) []int {
				var all []int
				for n := 0; n <= longest; n += 1 + n/200 { // each of the first bytes, where heads and feet lie
					all = append(all, n)
				}
				torn += len(all)
				return all
			},
		})
	}
	if torn < 100 {
		t.Errorf("only %d tears", torn)
	}
}

// The machine goes off at each kind of step of a file's replacement by a copy: the old
// one or the whole new one is there.
func TestCrashWhileCopying(t *testing.T) {
	long(t)
	t.Parallel() // it waits for the disk
	most := 2
	if testing.Short() {
		most = 1
	}
	for _, kind := range []string{"before create", "after create", "write of", "before sync of", "after sync of", "before rename to", "after rename to"} {
		for nth := range most {
			made, met := map[string]bool{}, 0 // the files that are there; how often one was copied that far
			what := crashAt(t, crashPlan{
				seed: nth, work: 100, bulk: true, names: []bool{false, true},
				at: func(_ int, what string) bool {
					name := strings.TrimSuffix(what[strings.LastIndexByte(what, ' ')+1:], partSuffix)
					if made[name] && strings.HasPrefix(what, kind) {
						met++
					}
					if strings.HasPrefix(what, "after rename to") && strings.HasSuffix(name, ".bolt") {
						made[name] = true
					}
					return met > 2*nth
				},
				tears: func(longest int) []int { return []int{0, longest / 2} },
			})
			if what == "" {
				t.Errorf("%s: no file was copied so often", kind)
			}
			if t.Failed() {
				return
			}
		}
	}
}

// crashAt lets a machine go off when the plan says so, and checks it after each of
// some tears of the last write.
func crashAt(t *testing.T, plan crashPlan) (what string) {
	t.Helper()
	dir := t.TempDir()
	sim := newSimDisk(dir)
	sim.hook = func(n int, now string) error {
		if !plan.at(n, now) {
			return nil
		}
		what, sim.crashed = now, true
		return errCrashed
	}
	c := &crashRun{t: t, draw: rand.New(rand.NewPCG(uint64(plan.seed), 7)), bulk: plan.bulk}
	d, err := c.open(dir, sim)
	if err == nil {
		c.disk = d
		c.work(plan.work)
		_ = d.Close() // writes nothing any more if the machine is off
	} else if !errors.Is(err, errCrashed) {
		t.Fatal(err)
	}
	for _, names := range plan.names {
		for _, torn := range plan.tears(sim.longestTear()) {
			again := t.TempDir()
			c.clone(t).live(fmt.Sprintf("seed %d, %s, torn at %d, names %v", plan.seed, what, torn, names), again, sim.image(t, again, torn, names))
			if t.Failed() {
				return what
			}
		}
	}
	return what
}

// live is another life: what the first left is there, and after some work and a
// clean stop, and after a kill, still is.
func (c *crashRun) live(what, dir string, sim *simDisk) {
	for _, end := range []string{"a clean stop", "another crash", "the end"} {
		d, err := c.open(dir, sim)
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
