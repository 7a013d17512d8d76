package vnodes

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// DiskOptions say how a Disk runs; zero means default.
type DiskOptions struct {
	Logger        *slog.Logger  // slog.Default() if nil
	TableBytes    int64         // memory of records that are not in their files yet: 192 MiB; at half as much again Append waits
	LogBytes      int64         // of the log, beyond which it is shortened: 512 MiB
	SegmentBytes  int64         // of the log's segments: 64 MiB
	OpenFiles     int           // how many files stay open: 128
	CheckpointAge time.Duration // after which, or up to twice as long, records are in their file: 30 s
	Low           Mark          // free room below which partitions do not move here: 10 % of the disk, at most 10 GiB
	Critical      Mark          // free room below which writes are refused: 3 % of the disk, at most 2 GiB
	// Floor is the time of the stamps below which a store's tombstones are needed by
	// nobody any more; 0 for none. It is asked from any goroutine. Nil: always 0.
	Floor      func(Identity) uint64
	ScrubBytes int64         // that the scrub reads in a second: 16 MiB
	ScrubRest  time.Duration // least rest between two passes of the scrub: 20 s

	// Damaged is told of a store that was found damaged, by a checkpoint or by the
	// scrub. The store has to be quarantined while still says that it is the one meant.
	// It must not block, nor call the Disk.
	Damaged func(name string, still func() bool, err error)

	Cork Cork // of who answers what the log has made durable; none if nil

	files fileSystem // the operating system's if nil
}

// Disk is a Storage of one bbolt file per store and one log in front of them all.
// A write is durable when the log is synced, one sync for whatever has come from
// all stores meanwhile. Then its records are in the store's table, in memory, from
// which checkpoints write them into the file, after which the log can be shortened:
//
//	Append → log, table → done → checkpoint → file → log trimmed
//
// When it opens it fills the tables from the log again.
type Disk struct {
	dir    string
	opts   DiskOptions
	logger *slog.Logger
	fsys   fileSystem
	log    *commitLog
	blocks *blockPool   // of the tables
	clock  atomic.Int64 // rises now and then: says which files were used last
	open   atomic.Int64 // files that are open
	tables atomic.Int64 // bytes in all tables
	newest uint64       // the newest time in a store when the disk was opened
	space  diskSpace
	counts diskCounts

	awaited atomic.Int32 // those who wait for a checkpoint of all stores
	scrubs  scrubCounts

	kick    chan struct{}  // wakes a keeper
	crowded chan struct{}  // too many files are open
	stop    chan struct{}  // closed by Close
	wg      sync.WaitGroup // keepers, ticker, watcher of the room

	roomMu   sync.Mutex
	room     sync.Cond // on roomMu: tables have shrunk, or nothing more will be taken
	noRoom   error     // why checkpoints do not get on: there is no room on the disk
	shutDown bool

	mu      sync.Mutex            // held for map operations, never over I/O
	stores  map[string]*diskStore // by name: those that are open, and those with records that are not in their file
	busy    map[*diskStore]bool   // being written by a keeper
	blocked map[string]*blocked   // what cannot be opened, by name
	shut    bool
}

// blocked is a store that lacks some of what it acknowledged.
type blocked struct {
	err  error
	from position // the log is kept from here: it may be asked again
}

// logDir is the folder of the log, beside those of the services.
const logDir = "log"

// OpenDisk opens the storage under dir, which is made if it is not there, and
// reads its log. No other process may use dir.
func OpenDisk(dir string, opts DiskOptions) (*Disk, error) {
	d := &Disk{
		dir: dir, opts: opts.withDefaults(), kick: make(chan struct{}, 1), crowded: make(chan struct{}, 1), stop: make(chan struct{}),
		stores: make(map[string]*diskStore), busy: make(map[*diskStore]bool), blocked: make(map[string]*blocked),
	}
	d.blocks = newBlockPool()
	d.logger, d.fsys, d.room.L = d.opts.Logger, d.opts.files, &d.roomMu
	d.space.look = make(chan struct{}, 1)
	if err := d.fsys.makeDir(dir); err != nil {
		return nil, fmt.Errorf("open storage: %w", err)
	}
	d.opts.fitDisk(dir)
	r, err := d.newRecovery()
	if err != nil {
		return nil, fmt.Errorf("open storage: %w", err)
	}
	limits := logLimits{first: min(1<<20, d.opts.SegmentBytes), segment: d.opts.SegmentBytes, spare: 2 * d.opts.SegmentBytes}
	replay := &logReplay{visit: r.take, workers: runtime.GOMAXPROCS(0)}
	if d.log, err = openCommitLog(d.fsys, filepath.Join(dir, logDir), limits, d.logger, replay); err != nil {
		return nil, fmt.Errorf("open storage: commit log: %w", err)
	}
	d.log.answerWith(d.opts.Cork)
	r.finish(replay.damages)
	d.lookAtSpace()
	for range keepers {
		d.wg.Go(d.keep)
	}
	d.wg.Go(d.tick)
	d.wg.Go(d.watchSpace)
	d.wg.Go(d.scrub)
	return d, nil
}

func (o DiskOptions) withDefaults() DiskOptions {
	o.TableBytes = defaulted(o.TableBytes, 192<<20)
	o.LogBytes = defaulted(o.LogBytes, 512<<20)
	o.SegmentBytes = defaulted(o.SegmentBytes, 64<<20)
	o.OpenFiles = defaulted(o.OpenFiles, 128)
	o.CheckpointAge = defaulted(o.CheckpointAge, 30*time.Second)
	o.ScrubBytes = defaulted(o.ScrubBytes, 16<<20)
	o.ScrubRest = defaulted(o.ScrubRest, 20*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.files == nil {
		o.files = osFiles{}
	}
	return o
}

func (d *Disk) floor(id Identity) uint64 {
	if d.opts.Floor == nil {
		return 0
	}
	return d.opts.Floor(id)
}

// Failed is closed when the log has failed: nothing more is acknowledged until
// the process starts anew. Err says why.
func (d *Disk) Failed() <-chan struct{} { return d.log.broken }

// Err is why the log has failed, nil if it has not.
func (d *Disk) Err() error { return d.log.err() }

// Checkpoint writes everything that was appended before into the files.
func (d *Disk) Checkpoint() error {
	d.awaited.Add(1)
	defer d.awaited.Add(-1)
	d.mu.Lock()
	stores := make(chan *diskStore, len(d.stores))
	for _, s := range d.stores {
		stores <- s
	}
	close(stores)
	d.mu.Unlock()
	errs := make(chan error, cap(stores))
	var workers sync.WaitGroup
	for range min(2*keepers, cap(stores)) {
		workers.Go(func() {
			for s := range stores {
				if err := s.checkpoint(); err != nil && !errors.Is(err, ErrClosed) {
					errs <- err
				}
			}
		})
	}
	workers.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// Close writes everything into the files and gives them and the log up. Stores
// that are still open fail from then on.
func (d *Disk) Close() error {
	d.mu.Lock()
	if d.shut {
		d.mu.Unlock()
		return ErrClosed
	}
	d.shut = true
	d.mu.Unlock()
	d.roomMu.Lock()
	d.shutDown = true
	d.room.Broadcast()
	d.roomMu.Unlock()
	close(d.stop)
	d.wg.Wait()
	errs := []error{d.Checkpoint()}
	d.mu.Lock()
	stores := make([]*diskStore, 0, len(d.stores))
	for _, s := range d.stores {
		stores = append(stores, s)
	}
	d.mu.Unlock()
	for _, s := range stores {
		_ = s.end() // its user may have done so
		errs = append(errs, s.file.close(s))
		s.forgetTables()
	}
	d.blocks.close()
	errs = append(errs, d.trim(), d.log.close())
	return errors.Join(errs...)
}
